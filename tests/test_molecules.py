"""Molecules: canonical SMILES, SELFIES and what is refused, scores, mutations, counts; what happens without the packages or the files."""
import os
import pickle
import sys
from unittest import mock

import numpy as np
import pytest

from augment_lib.core import DataUnavailableError, InputError
from augment_lib.molecules import TARGETS, MoleculeTask, Mutation, canonical, load_molecules, molecule, need, to_selfies, to_smiles, validity_report
from augment_lib.string_vae import StringVAE
from augment_lib.strings import split_text

chemistry = pytest.mark.skipif(any(__import__("importlib").util.find_spec(name) is None for name in ("rdkit", "selfies")), reason="rdkit and selfies are not installed (extra [lsbo])")
SOME = ["CCO", "c1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "NCCc1cnc[nH]1", "C1CCCCCCC1", "CC#N", "O=C=O", "FC(F)F", "C[N+](C)(C)C", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"]


@pytest.mark.parametrize("package", ["rdkit", "selfies"])
def test_without_the_package_the_extra_is_named(package):
    with mock.patch.dict(sys.modules, {package: None}), pytest.raises(InputError, match=rf"{package}.*pip install 'augment_lib\[lsbo\]'"):
        need(package)


def test_without_the_file(tmp_path):
    with mock.patch.dict(os.environ, {"AUGMENT_LIB_CACHE": str(tmp_path), "AUGMENT_LIB_DATA": "", "AUGMENT_LIB_OFFLINE": "1"}):
        for name in ("qm9", "zinc"):
            with pytest.raises(DataUnavailableError):
                load_molecules(name, 10)
    with pytest.raises(InputError, match="name='qm8'"):
        load_molecules("qm8")


@chemistry
@pytest.mark.parametrize("smiles", SOME)
def test_there_and_back(smiles):
    written = to_selfies([smiles]).strings
    assert to_smiles(written[0]) == canonical(smiles) and "".join(split_text(written[0], "selfies")) == written[0]


@chemistry
@pytest.mark.parametrize("bad", ["", " ", "C1CC", "xyz", "C(C)(C)(C)(C)C", "c1cccc1", None, 3, "[", "C\n\nC C"])
def test_what_is_no_molecule(bad, capfd):
    found = molecule(bad)
    assert found is None or canonical(bad)
    if bad not in ("C\n\nC C",):
        assert found is None and canonical(bad) == ""
    assert capfd.readouterr() == ("", "")                                       # RDKit complains to nobody


@chemistry
def test_refused_lines_are_counted_by_reason():
    lines = ["CCO", "OCC", "C1CC", "CI(=O)=O", "C" * 40, "N[C@@H](C)O", "N[C@H](C)O"]
    found = to_selfies(lines, longest=20)
    assert found.refused == {"repeated": 2, "not a molecule": 1, "not in SELFIES": 1, "longer than 20 symbols": 1} and found.rows.tolist() == [0, 5]
    assert found.examples["not in SELFIES"] == "CI(=O)=O" and "1 not a molecule (first 'C1CC')" in str(found)
    assert len(to_selfies(lines, stereo=True).strings) == 4                      # two hands, two molecules
    with pytest.raises(InputError, match="expected a list of strings"):
        to_selfies("CCO")


@chemistry
def test_random_symbols_are_molecules():
    rng, symbols = np.random.default_rng(0), ["[C]", "[=C]", "[N]", "[O]", "[Branch1]", "[Ring1]", "[=O]", "[F]", "[Ring2]", "[#C]"]
    rows = ["".join(rng.choice(symbols, rng.integers(1, 15))) for _ in range(200)]
    valid = [to_smiles(row) != "" for row in rows]
    assert np.mean(valid) > 0.9 and validity_report(rows)["valid"] == np.mean(valid)       # rows of branches and rings alone hold no atom


@chemistry
def test_scores_against_hand_work():
    from rdkit import Chem
    from rdkit.Chem import QED, Crippen
    for smiles in SOME:
        found = Chem.MolFromSmiles(smiles)
        assert MoleculeTask("qed", written_in="smiles")(smiles) == pytest.approx(QED.qed(found)) and 0 <= QED.qed(found) <= 1
        rest = Crippen.MolLogP(found) - MoleculeTask("penalised_logp", written_in="smiles")(smiles)
        assert 1 <= rest - (2 if smiles == "C1CCCCCCC1" else 0) <= 10                      # accessibility is 1 to 10; a ring of eight costs 2
    rediscovery = MoleculeTask("rediscovery", target=TARGETS["zinc"], written_in="smiles")
    assert rediscovery(TARGETS["zinc"]) == rediscovery(canonical(TARGETS["zinc"])) == 1 and all(0 <= rediscovery(s) < 1 for s in SOME)
    assert all(np.isnan(MoleculeTask(task)("")) for task in ("qed", "penalised_logp", "rediscovery"))
    twin = pickle.loads(pickle.dumps(rediscovery))                                          # goes to another process
    assert twin(SOME[2]) == rediscovery(SOME[2]) and "celecoxib" not in repr(twin) and "rediscovery" in repr(twin)
    for options, why in [({"task": "logp"}, "task='logp'"), ({"written_in": "inchi"}, "written_in='inchi'"), ({"task": "rediscovery", "target": "C1"}, "not a molecule")]:
        with pytest.raises(InputError, match=why):
            MoleculeTask(**options)


@chemistry
def test_mutations():
    pool = to_selfies(SOME).strings
    mutate, rng = Mutation.of(pool), np.random.default_rng(0)
    longest = max(len(split_text(text, "selfies")) for text in pool)
    text = pool[0]
    for _ in range(60):
        child = mutate(text, rng)
        assert to_smiles(child) not in ("", to_smiles(text)) and len(split_text(child, "selfies")) <= longest
        assert set(split_text(child, "selfies")) <= set(mutate.alphabet)
        text = child
    assert [mutate(pool[2], np.random.default_rng(5)) for _ in range(2)] == [mutate(pool[2], np.random.default_rng(5))] * 2
    assert Mutation(["[C]"], longest=1)("[C]", rng) == "[C]" and Mutation(["[C]"])("", rng) == "[C]"
    for bad, why in [(lambda: Mutation([]), "alphabet is empty"), (lambda: Mutation(["[C]"], tries=0), "tries=0"), (lambda: Mutation.of(["CC"]), "not made of symbols")]:
        with pytest.raises(InputError, match=why):
            bad()


@chemistry
def test_counting():
    report = validity_report(["CCO", "OCC", "C1", "c1ccccc1", "N"], known=["C(C)O"], written_in="smiles")
    assert report == {"n": 5, "valid": 0.8, "unique": 0.75, "novel": pytest.approx(2 / 3)}
    assert validity_report([]) == {"n": 0, "valid": 0.0, "unique": 0.0, "novel": 0.0}


@chemistry
def test_the_registered_sets():
    try:
        found, again = load_molecules("qm9", 400, random_state=1), load_molecules("qm9", 400, random_state=1)
    except DataUnavailableError:
        pytest.skip("the file of QM9 is not on this machine")
    assert found.strings == again.strings and len(found.strings) + sum(found.refused.values()) == 400 and len(set(found.rows)) == len(found.strings)
    assert validity_report(found.strings)["valid"] == validity_report(found.strings)["unique"] == 1
    with pytest.raises(InputError, match="n=0"):
        load_molecules("qm9", 0)


@chemistry
def test_a_model_of_selfies_runs_end_to_end():
    pool = to_selfies(["C" * i + tail for i in range(1, 9) for tail in ("O", "N", "C#N", "C(=O)O", "F", "C=O", "Cl")]).strings
    vae = StringVAE(3, pattern="selfies", hidden_dim=12, n_epochs=15, learning_rate=1e-2, random_state=0, device="cpu").fit(pool)
    drawn = vae.sample(100, random_state=0)
    assert validity_report(drawn)["valid"] > 0.5 and vae.vocabulary_.covers(drawn).all() and len(vae.encode(drawn)) == 100
