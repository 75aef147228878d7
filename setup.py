"""Hand-written. Reads the package's metadata from settings.ini: one place for name, version and requirements."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]


class BuildWithRegistry(build_py):
    """Puts data/registry.csv into the built package; a source tree and an editable install read the original, so there is one truth."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self.copy_file("data/registry.csv", str(Path(self.build_lib) / "augment_lib" / "registry.csv"))

    def get_source_files(self):  # what a source distribution needs beside the package
        return [*super().get_source_files(), "data/registry.csv", "settings.ini"]


setup(
    version=settings["version"],
    description=settings["description"],
    license=settings["license"],
    install_requires=settings["requirements"].split(),
    extras_require={name: settings[f"{name}_requirements"].split() for name in ("dev", "docs", "cluster", "faiss", "fid", "automl", "lsbo")},
    entry_points={"console_scripts": settings["console_scripts"].split()},
    packages=find_packages(include=["augment_lib", "augment_lib.*"]),
    include_package_data=True,
    cmdclass={"build_py": BuildWithRegistry},
)
