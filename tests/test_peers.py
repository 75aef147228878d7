"""Out-of-process peers: on a fake environment (a script that obeys the folder's rules), and on the real one where it is there."""
import json
import subprocess

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from augment_lib.core import InputError
from augment_lib.peers import PEERS, PeerError, PeerSampler, from_plain, peer_available, peer_paths, to_plain

STUB = """#!{python}
import json, pathlib, sys, time
import numpy as np, pandas as pd
if sys.argv[1] == "-c": sys.exit({missing})
folder = pathlib.Path(sys.argv[2])
job = json.loads((folder / "job.json").read_text())
table = pd.read_parquet(folder / "table.parquet")
do = job["options"].get("do")
if do == "sleep": time.sleep(30)
if do == "fail": sys.exit("first line\\nout of ideas")
rng = np.random.default_rng(job["seed"])
rows = table.sample(job["n_samples"], replace=True, random_state=rng)
if do == "wild": rows = rows.assign(**{{c: 1e12 for c in rows if c not in job["discrete"]}})
if do == "holes": rows.loc[rng.random(len(rows)) < 0.2, "target"] = np.nan
if do == "silent": sys.exit(0)
rows.to_parquet(folder / "synthetic.parquet")
(folder / "done.json").write_text(json.dumps({{"seconds": 1.5, "job": job}}))
"""


@pytest.fixture
def make_root(fake_environment):
    return lambda folder, missing=0: fake_environment(folder, peer_paths(folder), STUB, missing)


@pytest.fixture
def root(tmp_path, make_root):
    return make_root(tmp_path)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=40), "k": pd.array(rng.integers(0, 9, 40), dtype="Int64"), "flag": rng.random(40) < 0.5,
                      "target": pd.Categorical(rng.choice(["u", "v"], 40), categories=["v", "never", "u"]), "same": 7})
    return X, pd.Series(rng.gamma(2, size=40), name="price")


def test_plain_table_round_trip(table):
    X, y = table
    plain, discrete = to_plain(X, y)
    assert list(plain) == ["c0", "c1", "c2", "c3", "target"] and discrete == ["c2", "c3"]
    back, target = from_plain(plain, X, y)
    pd.testing.assert_frame_equal(back, X)
    assert np.array_equal(target, y)


def test_sampler_contract_on_the_stub(root, table):
    X, y = table
    sampler = PeerSampler(root=root, n_synthetic=2.0, random_state=0)
    X_res, y_res = sampler.fit_resample(X, y)
    pd.testing.assert_frame_equal(X_res.iloc[:40], X)
    assert len(y_res) == 120 and X_res.dtypes.equals(X.dtypes) and not X_res.isna().any().any()
    assert (sampler.seed_indices_[40:] == -1).all() and sampler.diagnostics_["seconds"] == 1.5
    assert clone(sampler).get_params() == sampler.get_params()
    same = PeerSampler(root=root, n_synthetic=2.0, random_state=0).fit_resample(X, y)[0]
    other = PeerSampler(root=root, n_synthetic=2.0, random_state=1).fit_resample(X, y)[0]
    assert same.equals(X_res) and not other.equals(X_res)


def test_job_carries_the_arguments(root, table):
    sampler = PeerSampler(model="ctgan", n_epochs=7, options={"batch_size": 50}, pool=123, root=root, random_state=0).fit(*table)
    job = sampler.diagnostics_["job"]
    assert (job["model"], job["n_epochs"], job["n_samples"], job["options"]) == ("ctgan", 7, 123, {"batch_size": 50})
    assert len(sampler.pool_) == 123


def test_paper_mixing_keeps_first_draws(root, table):
    X, y = table
    sampler = PeerSampler(root=root, alpha=0.5, mode="mix", random_state=0)
    X_res, _ = sampler.fit_resample(X, y)
    kept = sampler.seed_indices_[~sampler.is_synthetic_]
    assert len(X_res) == 40 and 0 < len(kept) < 40
    assert X_res[~sampler.is_synthetic_].reset_index(drop=True).equals(X.iloc[kept].reset_index(drop=True))


def test_wild_values_are_brought_into_range_and_holes_dropped(root, table):
    X, y = table
    wild, target = PeerSampler(root=root, options={"do": "wild"}, random_state=0).fit(X, y).sample(20)
    assert (wild.a == X.a.max()).all() and (wild.k == X.k.max()).all() and (target == y.max()).all()
    holes = PeerSampler(root=root, options={"do": "holes"}, pool=100, random_state=0).fit(X, y)
    assert 50 < len(holes.pool_) < 100 and np.isfinite(holes.pool_target_).all()


@pytest.mark.parametrize("options, timeout, message", [({"do": "fail"}, 60, "out of ideas"), ({"do": "sleep"}, 1.5, "timeout=1.5"),
                                                       ({"do": "silent"}, 60, "no message")])
def test_failed_runs_say_why(root, table, options, timeout, message):
    with pytest.raises(PeerError, match=message):
        PeerSampler(root=root, options=options, timeout=timeout).fit(*table)


def test_absent_environment_and_bad_arguments(tmp_path, table, make_root):
    assert not any(peer_available(model, tmp_path) for model in PEERS)
    with pytest.raises(PeerError, match="make peers"):
        PeerSampler(root=tmp_path).fit(*table)
    with pytest.raises(InputError, match="model"):
        PeerSampler(model="gan").fit(*table)
    with pytest.raises(InputError, match="n_epochs"):
        PeerSampler(n_epochs=0).fit(*table)
    assert not peer_available("tvae", make_root(tmp_path / "half", missing=1))       # python there, package not


def test_more_rows_than_the_pool(root, table):
    sampler = PeerSampler(root=root, pool=50, random_state=0).fit(*table)
    assert len(sampler.sample(50)[0]) == 50
    with pytest.raises(InputError, match="pool=51"):
        sampler.sample(51)


def test_requirements_are_pinned_and_scripts_stand_alone():
    _, script = peer_paths()
    folder = script.parent
    lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines) and "torch==2.13.0" in lines
    for name in ("generate.py", "train_speed.py"):
        text = (folder / name).read_text()
        assert "import augment_lib" not in text and "from augment_lib" not in text
        compile(text, name, "exec")


@pytest.mark.parametrize("model", sorted(PEERS))
def test_real_peer(model, table):
    if not peer_available(model):
        pytest.skip(f"{model} is not installed: no peer environment here; make it with `make peers`")
    X, y = table
    n_fits = 2 if model == "copulagan" else 1            # a fit imports the peer's packages: seconds; one model shows that seeds repeat
    drawn = [PeerSampler(model=model, n_epochs=2, pool=60, random_state=0).fit(X, y).sample(30, random_state=1) for _ in range(n_fits)]
    pd.testing.assert_frame_equal(drawn[0][0], drawn[-1][0])
    assert drawn[0][0].dtypes.equals(X.dtypes) and drawn[0][1].between(y.min(), y.max()).all()


def test_real_train_speed():
    python, script = peer_paths()
    if not python.exists() or subprocess.run([python, "-c", "import pythae"], capture_output=True).returncode:
        pytest.skip("pythae is not installed: no peer environment here; make it with `make peers`")
    run = subprocess.run([python, script.with_name("train_speed.py"), "small", "--epochs", "1", "--repeats", "1", "--n-samples", "640"],
                         capture_output=True, text=True, timeout=120)
    found = json.loads(run.stdout.strip().splitlines()[-1])
    assert found["steps"] == 10 and found["threads"] == 1
    assert {"default", "fused"} == set(found["variants"])
    assert found["variants"]["default"]["final_loss"] == pytest.approx(found["variants"]["fused"]["final_loss"], rel=1e-3)
