"""What came back: the application's data, and what the headers say of it.

The head is kept as it came and looked into only when somebody asks: most callers want the data alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from neverstale.problems import BadAnswer, NotFound, outcome_unknown, problem_error
from neverstale.reads import Read
from neverstale.responses import Response

T_co = TypeVar("T_co", covariant=True)


class Answer(Generic[T_co]):
    """An answer with its data, and how fresh it is."""

    __slots__ = ("_response", "is_unchanged", "value")

    def __init__(self, value: T_co, response: Response, *, is_unchanged: bool = False) -> None:
        self.value = value
        """The data."""
        self.is_unchanged = is_unchanged
        """Whether the caller had it already (`known=`), and `value` is what it had."""
        self._response = response

    @property
    def position(self) -> str:
        """A token: the answer is at least as fresh as the state it names."""
        return self._response.header("neverstale-position")

    @property
    def level(self) -> str:
        """The level that was kept."""
        return self._response.header("neverstale-consistency")

    @property
    def etag(self) -> str:
        """Names this very value."""
        return self._response.header("etag")

    @property
    def cache_status(self) -> str:
        """Where the answer came from (RFC 9211)."""
        return self._response.header("cache-status")

    def __repr__(self) -> str:
        return f"Answer({self.value!r}, position={self.position!r})"


class Batch(Sequence[Any]):
    """The answers to several reads, all of one state, in the order asked.

    Taking one that is a problem raises it; `get` gives a default for what does not exist. One that is unchanged since the tag that
    was given (`etags=`) was not sent again: the caller has it, and taking it is a `ValueError`.
    """

    __slots__ = ("_answers", "position")

    def __init__(self, position: str, answers: list[dict[str, Any]]) -> None:
        self.position = position
        """The token of the one state."""
        self._answers = answers

    @classmethod
    def of(cls, response: Response, reads: int) -> Batch:
        """Reads the body of a batch's answer."""
        told = decoded(response)
        try:
            position, answers = told["position"], told["answers"]
            is_whole = isinstance(position, str) and len(answers) == reads
            is_whole = is_whole and all(one["status"] == 304 or "body" in one for one in answers)
        except (KeyError, TypeError):
            is_whole = False
        if not is_whole:
            raise BadAnswer("a batch was not answered with as many answers as it has reads")
        return cls(position, answers)

    def __len__(self) -> int:
        return len(self._answers)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        answer = self._answers[place]
        if answer["status"] == 200:
            return answer["body"]
        if answer["status"] == 304:
            raise ValueError("this one is unchanged: the caller has it")
        raise problem_error(answer["status"], answer["body"])

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def get(self, place: int, default: Any = None) -> Any:
        """One answer, or `default` where there is no such thing."""
        try:
            return self[place]
        except NotFound:
            return default

    def is_unchanged(self, place: int) -> bool:
        """Whether what the caller has, by the tag it gave, is the answer."""
        return bool(self._answers[place]["status"] == 304)

    def etag(self, place: int) -> str:
        """Names this very value; the empty text for problems."""
        return str(self._answers[place].get("etag", ""))

    def __repr__(self) -> str:
        return f"Batch({len(self)} answers, position={self.position!r})"


def decoded(response: Response) -> Any:
    """The data of a 200; raises the problem otherwise."""
    if response.status != 200:
        raise problem_error(response.status, response.body)
    try:
        return json.loads(response.body)
    except ValueError as error:
        raise BadAnswer("the body is no JSON") from error


def answer(read: Read[T_co], response: Response, known: Answer[T_co] | None) -> Answer[T_co]:
    """Puts an answer together; `known` is what the caller said that it had."""
    if response.status == 304 and known is not None:
        return Answer(known.value, response, is_unchanged=True)
    return Answer(decoded(response), response)


def written(response: Response) -> Answer[Any]:
    """The answer to a write. One that can't be read says nothing of what became of it."""
    try:
        return Answer(decoded(response), response)
    except BadAnswer as error:
        raise outcome_unknown(error) from error
