"""scikit-learn's and imbalanced-learn's estimator checks over every public sampler."""
import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks as imblearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks as sklearn_checks

from augment_lib.baselines import ROSE, SMOGN, SMOTER, GaussianNoise, WeightedOversampler
from augment_lib.david import DAVID
from augment_lib.synthesis import CARTSynthesis, DataSpaceBootstrap, KernelPCABootstrap, PCABootstrap

# Regression samplers: two of imbalanced-learn's checks demand class labels, which a continuous target has not.
BY_DESIGN = {
    "check_target_type": "demands an error for a continuous target, which is what a regression sampler is for",
    "check_samplers_multiclass_ova": "demands that one-hot class labels equal plain ones; multioutput targets are refused here",
}


def samplers():
    baselines = (WeightedOversampler, GaussianNoise, ROSE, SMOTER, SMOGN, DataSpaceBootstrap, PCABootstrap, KernelPCABootstrap, CARTSynthesis)
    return [DAVID(n_epochs=5, random_state=0), *(baseline(random_state=0) for baseline in baselines)]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
@sklearn_checks(samplers())
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::UserWarning")
@imblearn_checks(samplers(), expected_failed_checks=lambda estimator: BY_DESIGN)
def test_imbalanced_learn_checks(estimator, check):
    check(estimator)
