"What a user reads when an optional package is missing or broken, and that nothing is loaded before it is used."
import subprocess
import sys

import pytest

from augment_lib.core import InputError
from augment_lib.extras import installed, optional_module


@pytest.mark.parametrize("name", ["nowhere", "nowhere.inside.it"])
def test_an_absent_package_is_named_with_its_purpose_and_cure(name):
    with pytest.raises(InputError, match=r"^flying needs the package nowhere, which is not installed\. Install it: pip install 'augment_lib\[sky\]', or walk\.$"):
        optional_module(name, "flying", "augment_lib[sky]", instead="walk")


def test_a_package_that_breaks_while_it_is_loaded_is_not_called_absent(tmp_path, monkeypatch):
    (tmp_path / "half_a_package.py").write_text("import a_library_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"half_a_package is here but cannot be loaded \(No module named 'a_library_that_is_missing'\).*pip install half-a-package\.$") as caught:
        optional_module("half_a_package", "flying", "half-a-package")
    assert isinstance(caught.value.__cause__, ImportError)          # the whole story stays for whoever wants it


def test_other_errors_of_a_package_are_not_swallowed(tmp_path, monkeypatch):
    (tmp_path / "angry_package.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="no licence"):
        optional_module("angry_package", "flying", "angry-package")


@pytest.mark.parametrize("quiet", [True, False])
def test_quiet_hides_the_warnings_of_the_import_alone(tmp_path, monkeypatch, quiet, recwarn):
    name = f"loud_package_{quiet}".lower()
    (tmp_path / f"{name}.py").write_text("import warnings\nwarnings.warn('old news', FutureWarning)")
    monkeypatch.syspath_prepend(tmp_path)
    optional_module(name, "flying", name, quiet=quiet)
    assert [str(w.message) for w in recwarn] == ([] if quiet else ["old news"])


def test_asking_loads_nothing():
    code = "import sys\nfrom augment_lib.extras import installed\nprint(installed('sqlite3'), 'sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["True", "False"]
    assert not installed("nowhere")
