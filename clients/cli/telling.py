"""What `framemesh infer` says: a line for each sweep and some at the end, for people or as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clients.cli.feeding import Answer, News, NotTaken, Tally, percentiles
from mesh.core.workload import Following

if TYPE_CHECKING:
    from mesh.core.workload import Buffer, Feedable


class Telling:
    """Says of each input what came of it, to people or programs, and of all in the end."""

    def __init__(
        self,
        plugin: Feedable,
        following: Following | None,
        write: Callable[[str], None],
        *,
        as_json: bool,
    ) -> None:
        self.following = following
        self.tally: Tally | None = None  # of a session's answers
        self._here_us: dict[str, list[int]] = {}
        self._plugin, self._write, self._json = plugin, write, as_json

    async def tell(self, news: News) -> None:
        """Of an input that was sent. Raises ContentRefused if its result cannot be read."""
        if self.tally is not None:
            self.tally.add(news)
        facts = record(news)
        if isinstance(news, Answer):
            facts |= await self._made_of(news.index, news.stamp_us, news.result.data)
        self._say(facts)

    async def tell_local(self, index: int, stamp_us: int) -> None:
        """Of an input that is answered here. Raises ContentRefused."""
        self._say({"sweep": index, **await self._made_of(index, stamp_us, None)})

    async def _made_of(self, index: int, stamp_us: int, result: Buffer | None) -> Mapping[str, Any]:
        if self.following is None:
            assert result is not None
            return {"result": self._plugin.explain(result)}
        made = await asyncio.to_thread(self.following.take, index, stamp_us, result)
        for stage, us in made["perceived"]["times_us"].items():
            self._here_us.setdefault(stage, []).append(us)
        return made

    def _say(self, facts: Mapping[str, Any]) -> None:
        text = json.dumps(facts)
        self._write(text)
        print(text if self._json else line(facts), flush=True)

    def sum_up(self) -> None:
        """The last line, or lines."""
        summary = self.tally.summary() if self.tally is not None else {}
        if self.following is not None:
            summary["perceived"] = self.following.summary()
            summary["here_ms"] = {name: percentiles(us) for name, us in self._here_us.items()}
        print(json.dumps({"summary": summary}) if self._json else "\n".join(report(summary)))


def record(news: News) -> dict[str, Any]:
    """One sweep's line as JSON has it, but for its result."""
    if isinstance(news, NotTaken):
        problem = news.problem
        return {"sweep": news.index, "refused": {"code": problem.code, "why": problem.why}}
    return {
        "sweep": news.index,
        "frame": news.result.frame,
        "latency_ms": news.latency_us / 1000,
        "stages_us": news.stages(),
        "pieces": len(news.pieces),
        "missing": news.missing,
    }


def line(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    if "refused" in facts:
        return f"sweep {facts['sweep']:4}  refused: {facts['refused']['why']}"
    parts = [f"sweep {facts['sweep']:4}"]
    if "frame" in facts:
        parts.append(
            f"frame {facts['frame']:4}  {facts['latency_ms']:6.1f} ms"
            f"  missing {facts['missing']} of {facts['pieces']}"
        )
    parts += [facts[made]["summary"] for made in ("result", "perceived") if made in facts]
    return "  ".join(parts)


def report(summary: Mapping[str, Any]) -> list[str]:
    """A few lines for people."""
    lines, times = [], {}
    if "answered" in summary:
        lines.append(
            f"{summary['answered']} answered, {summary['refused']} refused;"
            f" {summary['late']} later than {summary['deadline_ms']:.0f} ms,"
            f" {summary['incomplete']} with parts missing"
        )
        times = {"latency": summary["latency_ms"], **summary["stages_ms"]}
    lines += _table(times)
    makers = summary.get("makers", {})
    lines += [f"  {maker}: {share:.0%} of the parts" for maker, share in makers.items()]
    if "perceived" in summary:
        lines.append(f"In this program: {summary['perceived']['summary']}")
        lines += _table(summary["here_ms"])
    return lines


def _table(times: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    for stage, cuts in times.items():
        figures = "  ".join(f"{name} {ms:6.1f}" for name, ms in cuts.items())
        yield f"  {stage:9} ms  {figures or '-'}"
