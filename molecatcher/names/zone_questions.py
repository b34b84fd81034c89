"""The sensor's side of the zone checks: it speaks to nobody, so another process asks and both share two files."""

from collections import OrderedDict

from molecatcher.shared_file import SharedFile
from rules.values.zones import ZoneAnswer

MAX_QUESTIONS = 256


class ZoneQuestions:
    """Answers by name, and the names that wait for one: 256 at most, the oldest goes and is counted in `shed`.

    `find` and `news` are `rules.values.zones.Zones`; `exchange`, called twice a second, reads and writes the files.
    """

    def __init__(self, questions: SharedFile[list[str]], answers: SharedFile[list[ZoneAnswer]]) -> None:
        self.shed = 0
        self._questions = questions
        self._answers = answers
        self._known: dict[str, ZoneAnswer] = {}
        self._wanted: OrderedDict[str, None] = OrderedDict()
        self._news: list[str] = []
        self._has_changed = False

    def find(self, name: str, now_ns: int) -> ZoneAnswer | None:
        """Return what is known of `name` at `now_ns`; where nothing is, it will be asked for."""
        answer = self._known.get(name)
        if answer is not None and answer.until_ns > now_ns:
            return answer
        if name not in self._wanted:
            self._wanted[name] = None
            self._has_changed = True
            if len(self._wanted) > MAX_QUESTIONS:
                self._wanted.popitem(last=False)
                self.shed += 1
        return None

    def news(self) -> list[str]:
        """Return the names that were answered since the last call."""
        news, self._news = self._news, []
        return news

    def exchange(self) -> None:
        """Take the answers that have come, and leave what is still to be asked."""
        answers = self._answers.poll()
        if answers is not None:
            self._learn(answers)
        if self._has_changed:
            self._has_changed = False
            self._questions.write(list(self._wanted))

    def _learn(self, answers: list[ZoneAnswer]) -> None:
        before, self._known = self._known, {row.name: row for row in answers}
        for row in answers:
            if row != before.get(row.name) and row.name in self._wanted:
                del self._wanted[row.name]
                self._has_changed = True
                self._news.append(row.name)
