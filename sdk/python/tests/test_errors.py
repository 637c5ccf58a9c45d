"""Every error reaches another process as it is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

import keymoat
from conftest import LISTED
from keymoat import BatchError, Evaluator, InvalidDocumentError, KeymoatError, Request

CLASSES = [c for c in vars(keymoat).values() if isinstance(c, type) and issubclass(c, KeymoatError)]


def restored(error: KeymoatError) -> list[KeymoatError]:
    """Return what comes out of each way to carry an error elsewhere."""
    protocols = range(2, pickle.HIGHEST_PROTOCOL + 1)
    return [copy.copy(error), copy.deepcopy(error), *(pickle.loads(pickle.dumps(error, p)) for p in protocols)]


def raised(call: Callable[[], object]) -> KeymoatError:
    with pytest.raises(KeymoatError) as e:
        call()
    return e.value


@pytest.mark.parametrize("class_", CLASSES)
def test_an_error_can_be_pickled(class_: type[KeymoatError], evaluator: Evaluator) -> None:
    if class_ is InvalidDocumentError:
        error = raised(lambda: evaluator.load('{"Accounts":3}'))
    elif class_ is BatchError:
        requests = [Request(LISTED, "203.0.113.1"), Request("", "203.0.113.1"), Request(LISTED, "nowhere")]
        error = raised(lambda: evaluator.evaluate_many(requests))
    else:
        error = class_("what is wrong", "Code")
    assert type(error) is class_
    for found in restored(error):
        assert type(found) is class_
        assert (str(found), found.code) == (str(error), error.code)
        if isinstance(error, InvalidDocumentError):
            assert isinstance(found, InvalidDocumentError)
            assert found.report == error.report
        if isinstance(error, BatchError):
            assert isinstance(found, BatchError)
            assert found.decisions == error.decisions
            assert [(i, type(e), str(e)) for i, e in found.errors.items()] == [
                (i, type(e), str(e)) for i, e in error.errors.items()
            ]
