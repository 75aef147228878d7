"""augment_lib: five published ways to make a small or imbalanced data set larger.

Hand-written. Names are loaded on first use: importing torch, scikit-learn and imbalanced-learn takes seconds, and neither
`import augment_lib` nor a command-line tool should pay for what it does not use.
"""
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version as _version

_PUBLIC = {
    "DAVID": "david",
    "LEOCVAE": "leo_cvae",
    "GAE": "gae",
    "GenerativeAutoencoder": "generative",
    "LRAVAE": "lra_vae",
    "MLTeacher": "ml_teacher",
    "StringVAE": "string_vae",
    "LatentSpaceOptimizer": "lsbo",
    "LatentModel": "lsbo",
    "AugmentCV": "choose",
    "TableEncoder": "table",
    "SmoothedBootstrap": "bootstrap",
    "density_weights": "weighting",
    "target_density": "weighting",
    "local_entropy": "entropy",
    "load_dataset": "data",
}

try:
    __version__ = _version("augment_lib")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'augment_lib' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"augment_lib.{_PUBLIC[name]}"), name)


def __dir__():
    return __all__ + ["__version__"]
