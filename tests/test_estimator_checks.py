"""scikit-learn's and imbalanced-learn's estimator checks over every public sampler."""
import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_lib.baselines import ROSE, SMOGN, SMOTER, GaussianNoise, WeightedOversampler
from augment_lib.david import DAVID
from augment_lib.gae import GAE
from augment_lib.synthesis import CARTSynthesis, DataSpaceBootstrap, KernelPCABootstrap, PCABootstrap

# Samplers of a continuous target: two of imbalanced-learn's checks demand class labels, which it has not; GAE takes both, and balances classes.
BY_DESIGN = {
    "check_target_type": "demands an error for a continuous target, which is what a regression sampler is for",
    "check_samplers_multiclass_ova": "demands that one-hot class labels equal plain ones; multioutput targets are refused here",
}


def by_design(estimator):
    return {name: why for name, why in BY_DESIGN.items() if name == "check_target_type" or not isinstance(estimator, GAE)}


def samplers():
    baselines = (WeightedOversampler, GaussianNoise, ROSE, SMOTER, SMOGN, DataSpaceBootstrap, PCABootstrap, KernelPCABootstrap, CARTSynthesis)
    gae = GAE(hidden_dims=(16,), n_epochs=5, random_state=0, device="cpu")
    return [gae, DAVID(n_epochs=5, random_state=0), *(baseline(random_state=0) for baseline in baselines)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@sklearn_checks(samplers())
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks(samplers(), expected_failed_checks=by_design)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)
