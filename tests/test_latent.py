"""latent: every law through the same contract, and each law's own limit cases."""
import json

import numpy as np
import pytest
from sklearn.base import clone

from augment_lib.bootstrap import SmoothedBootstrap
from augment_lib.core import InputError
from augment_lib.latent import LAWS, LatentLaw, PosteriorDraw, Prior, law_from_state, resolve_law


@pytest.fixture(scope="module")
def codes():
    rng = np.random.default_rng(0)
    return rng.normal(1, 2, (200, 3)).astype(np.float32), np.log(rng.uniform(0.01, 0.2, (200, 3))).astype(np.float32), rng.random(200)


@pytest.mark.parametrize("name", LAWS)
class TestContract:
    def fitted(self, name, codes):
        mu, logvar, weights = codes
        return resolve_law(name).fit(mu, logvar=logvar, weights=weights)

    def test_conforms_and_clones(self, name, codes):
        law = resolve_law(name)
        assert isinstance(law, LatentLaw) and clone(law).get_params() == law.get_params()
        assert law.fit(codes[0], logvar=codes[1], weights=codes[2]) is law

    @pytest.mark.parametrize("n", [0, 1, 7, 1000])
    def test_shapes_and_dtypes(self, name, codes, n):
        z, seeds = self.fitted(name, codes).sample(n, random_state=1)
        assert z.shape == (n, 3) and z.dtype == np.float32 and seeds.shape == (n,) and seeds.dtype.kind == "i"
        assert np.isfinite(z).all() and ((seeds >= -1) & (seeds < 200)).all()
        assert len(set(seeds < 0)) <= 1

    def test_default_is_one_draw(self, name, codes):
        assert self.fitted(name, codes).sample()[0].shape == (1, 3)

    def test_random_state(self, name, codes):
        law = self.fitted(name, codes)
        assert (law.sample(9, 4)[0] == law.sample(9, 4)[0]).all() and (law.sample(9, 4)[0] != law.sample(9, 5)[0]).any()
        assert (law.sample(9, np.random.default_rng(4))[0] == law.sample(9, 4)[0]).all()
        before = np.random.get_state()[1].copy()
        law.sample(9)
        assert (np.random.get_state()[1] == before).all()

    def test_state_round_trip(self, name, codes):
        law = self.fitted(name, codes)
        config, arrays = law.get_state()
        assert config["law"] == {"normal": "gmm"}.get(name, name) and all(isinstance(value, np.ndarray) for value in arrays.values())
        twin = law_from_state(json.loads(json.dumps(config)), arrays)
        assert type(twin) is type(law) and all((a == b).all() for a, b in zip(law.sample(50, 2), twin.sample(50, 2)))

    def test_bad_input(self, name, codes):
        mu, logvar, _ = codes
        with pytest.raises(InputError, match="row 0"):
            resolve_law(name).fit(np.full((3, 2), np.nan), logvar=np.zeros((3, 2)))
        with pytest.raises(InputError, match="n_samples"):
            self.fitted(name, codes).sample(-1)

    def test_weights_choose_the_seeds(self, name, codes):
        mu, logvar, _ = codes
        only = np.zeros(200)
        only[[3, 9]] = 1, 3
        _, seeds = resolve_law(name).fit(mu, logvar=logvar, weights=only).sample(4000, 0)
        if name in ("prior", "gmm", "normal"):                 # no seed rows; a mixture goes where the weights are
            assert (seeds == -1).all()
        else:
            assert set(seeds) == {3, 9} and np.isclose((seeds == 9).mean(), 0.75, atol=0.03)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_prior_moments(scale):
    z, _ = Prior(scale).fit(np.full((5, 3), 40.0)).sample(100_000, 0)
    assert np.allclose(z.mean(axis=0), 0, atol=0.02 * scale) and np.allclose(np.cov(z.T), scale**2 * np.eye(3), atol=0.03 * scale**2)


def test_posterior_moments_row_by_row(codes):
    mu, logvar, _ = codes
    only = np.zeros(200)
    only[17] = 1
    for scale in (1.0, 3.0):
        z, _ = PosteriorDraw(scale).fit(mu, logvar, only).sample(50_000, 0)
        sigma = scale * np.exp(0.5 * logvar[17])
        assert np.allclose(z.mean(axis=0), mu[17], atol=0.02 * scale) and np.allclose(z.std(axis=0), sigma, rtol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_posterior_without_spread_is_the_plain_bootstrap(codes, dtype):
    mu, logvar = codes[0].astype(dtype), codes[1]
    for law in (PosteriorDraw().fit(mu, np.full_like(mu, -np.inf)), PosteriorDraw(scale=0).fit(mu, logvar)):
        z, seeds = law.sample(300, 0)
        assert z.dtype == dtype and (z == mu[seeds]).all()


def test_three_laws_meet_at_the_plain_bootstrap(codes):
    mu, logvar, weights = codes
    a = PosteriorDraw(scale=0).fit(mu, logvar, weights).sample(500, 8)
    b = SmoothedBootstrap(bandwidth=0).fit(mu, weights).sample(500, 8)
    assert all((x == y).all() for x, y in zip(a, b))


@pytest.mark.parametrize("law, fit, words", [
    (PosteriorDraw(), {"Z": np.eye(3)}, "logvar"),
    (PosteriorDraw(), {"Z": np.eye(3), "logvar": np.zeros((3, 2))}, "shape"),
    (PosteriorDraw(), {"Z": np.eye(3), "logvar": np.full((3, 3), np.nan)}, "diverged"),
    (PosteriorDraw(), {"Z": np.eye(3), "logvar": np.full((3, 3), 1e4)}, "diverged"),
    (PosteriorDraw(-1), {"Z": np.eye(3), "logvar": np.zeros((3, 3))}, "scale"),
    (Prior(np.nan), {"Z": np.eye(3)}, "scale"),
    (PosteriorDraw(), {"Z": np.eye(3), "logvar": np.zeros((3, 3)), "weights": [1, 1]}, "weights"),
])
@pytest.mark.filterwarnings("error")
def test_bad_fits(law, fit, words):
    with pytest.raises(InputError, match=words):
        law.fit(**fit)


def test_resolve():
    mine = SmoothedBootstrap(0.4)
    fresh = resolve_law(mine)
    assert fresh is not mine and fresh.bandwidth == 0.4
    fresh.fit(np.eye(3))
    assert not hasattr(mine, "codes_")
    assert resolve_law("prior", scale=2).scale == 2
    for wrong in ("mix", 3, None, Prior):
        with pytest.raises(InputError, match="law"):
            resolve_law(wrong)
    with pytest.raises(InputError, match="scale"):
        resolve_law(Prior(), scale=2)
    with pytest.raises(InputError, match="law"):
        law_from_state({"params": {}}, {})


def test_a_law_of_ones_own():
    class Copies:
        def fit(self, Z, *, logvar=None, weights=None):
            self.Z = np.asarray(Z)
            return self

        def sample(self, n_samples=1, random_state=None):
            return self.Z[:n_samples], np.arange(n_samples)

        def get_state(self):
            return {"law": "copies"}, {"Z": self.Z}

        @classmethod
        def from_state(cls, config, arrays):
            return cls().fit(arrays["Z"])

    mine = Copies()
    assert isinstance(mine, LatentLaw)
    assert isinstance(resolve_law(mine), Copies) and resolve_law(mine) is not mine
