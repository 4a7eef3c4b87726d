from setuptools import find_packages, setup

schemas = ["mfc.schemas", "mfc.schemas.contracts"]
targets = ["mfc.targets", *(f"mfc.targets.{name}" for name in find_packages("targets"))]
setup(packages=[*find_packages("compiler"), *targets, *schemas])
