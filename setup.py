from setuptools import find_packages, setup

schemas = ["mfc.schemas", "mfc.schemas.contracts"]
setup(packages=[*find_packages("compiler"), "mfc.targets", *schemas, *(f"mfc.targets.{name}" for name in find_packages("targets"))])
