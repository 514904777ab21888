import pytest

from accord.data.catalog import BUILTIN, find
from accord.errors import UserError


def test_find():
    found = find("builtin:film-reviews")
    assert found is BUILTIN["film-reviews"]
    assert (found.licence, found.parts["proxy"]) == ("MIT", "comparisons")


@pytest.mark.parametrize("source", ["builtin:film-review", "film-reviews", "builtin:builtin:film-reviews"])
def test_an_unknown_source_names_the_nearest_known_one(source):
    with pytest.raises(UserError, match=r"Did you mean 'builtin:film-reviews'\?"):
        find(source)
