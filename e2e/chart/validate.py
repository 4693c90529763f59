"""Compares Kubernetes objects with the schemas of a version: validate.py VERSION <OBJECTS

OBJECTS is a JSON list. Prints a line for each problem, and ends with 1 if there is one. Unknown
kinds are problems too. Run by the tests of the chart, in the environment that
scripts/chart-tools makes.
"""

import functools
import json
import sys

from kubernetes_validate import utils


def problem(version, thing):
    try:
        utils.validate(thing, version, strict=True)
    except utils.ValidationError as error:
        path = "/".join(str(part) for part in error.path)
        return f"{path}: {error.message}"
    except utils.SchemaNotFoundError as error:
        return error.message
    return None


def main():
    (version,) = sys.argv[1:]
    # It would take an older one without a word.
    if version not in map(utils.major_minor, utils.all_versions()):
        print(f"there are no schemas of Kubernetes {version}")
        sys.exit(2)
    # Else the definitions of all kinds are read anew for each object.
    utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
    code = 0
    for thing in json.load(sys.stdin):
        found = problem(version, thing)
        if found:
            print(f"{thing.get('kind')} {thing['metadata']['name']}: {found}")
            code = 1
    sys.exit(code)


main()
