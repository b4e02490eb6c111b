"""The words of the digest's page, in English and in Korean; claims are translated in each ``paper.toml``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tenfold.core.claims import verdict_text
from tenfold.core.errors import UserError
from tenfold.core.types import Judgement


@dataclass(frozen=True)
class Words:
    """What the page says in one language; ``{name}`` marks what is filled in.

    Args:
        language: its code, as HTML wants it.
        other: the other page's file and the name of its language.
        verdicts: verdict to word; one of them for what has none yet.
    """

    language: str
    other: tuple[str, str]
    title: str
    lead: str
    reading: str
    verdicts: Mapping[str, str]
    authors: str
    headline: str
    no_verdict: str
    not_yet: str
    needed: str
    interval: str
    seeds_of: str
    other_claims: str
    no_picture: str
    metric: str
    run_it: str
    took: str
    read_more: str
    paper: str
    all_claims: str
    all_claims_lead: str
    show: str
    everything: str
    claim: str
    effect: str
    verdict: str
    made: str
    unreviewed: str


ENGLISH = Words(
    language="en",
    other=("index.ko.html", "한국어"),
    title="Ten systems of one week's paper digest",
    lead=(
        "What each paper claims, what held when it was run here on a small scale, and how to try it. "
        "Failures are shown as openly as successes."
    ),
    reading=(
        "A verdict needs every seed that was planned before the run. On each strip the dashed mark is the line that "
        "the claim must pass, the bar with the large dot is the interval with the mean, the small dots are the seeds."
    ),
    verdicts={
        "supported": "supported",
        "not supported": "not supported",
        "undecided": "undecided",
        "none": "no verdict yet",
    },
    authors="by {authors}",
    headline="Headline",
    no_verdict="No run of this paper is published yet.",
    not_yet="This system is announced and cannot be run yet.",
    needed="needed: {needed}",
    interval="{percent} % interval over {over}",
    seeds_of="{count} seeds",
    other_claims="The other claims",
    no_picture="This run was published before reports were kept, so its numbers stand here in place of a picture.",
    metric="metric",
    run_it="Try it",
    took="{setting}, {seeds}, {duration} on {hardware}, {date}",
    read_more="equations, numbers and deviations",
    paper="the paper",
    all_claims="All claims",
    all_claims_lead="{count} claims of {papers} papers: {counted}.",
    show="Show:",
    everything="all",
    claim="Claim",
    effect="Effect [interval]",
    verdict="Verdict",
    made="Made by tenfold {version} from the results in the repository.",
    unreviewed="",
)

KOREAN = Words(
    language="ko",
    other=("index.html", "English"),
    title="한 주의 논문 다이제스트, 열 가지 시스템",
    lead=(
        "각 논문이 무엇을 주장하는지, 작은 규모로 직접 실행했을 때 무엇이 성립했는지, 어떻게 시험해 볼 수 있는지를 "
        "보여 줍니다. 실패도 성공과 똑같이 드러냅니다."
    ),
    reading=(
        "판정에는 실행 전에 계획한 모든 시드가 필요합니다. 각 띠에서 점선은 주장이 넘어야 하는 기준, 큰 점이 있는 "
        "막대는 평균과 구간, 작은 점들은 시드별 값입니다."
    ),
    verdicts={
        "supported": "뒷받침됨",
        "not supported": "뒷받침되지 않음",
        "undecided": "미결정",
        "none": "아직 판정 없음",
    },
    authors="{authors}",
    headline="핵심 주장",
    no_verdict="이 논문의 실행 결과는 아직 공개되지 않았습니다.",
    not_yet="예고된 시스템이며 아직 실행할 수 없습니다.",
    needed="기준: {needed}",
    interval="{over}에 대한 {percent} % 구간",
    seeds_of="시드 {count}개",
    other_claims="나머지 주장",
    no_picture="보고서를 보관하기 전에 공개된 실행이라 그림 대신 수치를 싣습니다.",
    metric="지표",
    run_it="직접 해 보기",
    took="{setting}, {seeds}, {duration}, {hardware}, {date}",
    read_more="수식, 수치, 원문과 다른 점",
    paper="논문",
    all_claims="모든 주장",
    all_claims_lead="논문 {papers}편의 주장 {count}개: {counted}.",
    show="보기:",
    everything="전체",
    claim="주장",
    effect="효과 [구간]",
    verdict="판정",
    made="저장소의 결과로부터 tenfold {version}이 만든 페이지입니다.",
    unreviewed="번역은 아직 한국어 화자의 검토를 받지 않았습니다. 번역이 없는 주장은 영어로 싣습니다.",
)

LANGUAGES = {words.language: words for words in (ENGLISH, KOREAN)}

_KOREAN_LIMITS = (
    (re.compile(r"look (\d+)"), r"\1번째 판정"),
    (re.compile(r"(\d+) of (\d+) seeds"), r"시드 \2개 중 \1개"),
    (re.compile(r"no plan"), "계획 없음"),
    (re.compile(r"not the planned seeds"), "계획한 시드가 아님"),
    (re.compile(r"gain above"), "이득 >"),
    (re.compile(r"\babove"), ">"),
    (re.compile(r"\bbelow"), "<"),
    (re.compile(r"\bexactly"), "="),
    (re.compile(r"equal to"), "="),
    (re.compile(r"held-out items"), "평가 문항"),
)


def words_of(language: str) -> Words:
    """The words in a language.

    Args:
        language: ``en`` or ``ko``.

    Raises:
        UserError: another one.

    Example:
        >>> words_of("ko").verdicts["undecided"]
        '미결정'
    """
    if language not in LANGUAGES:
        raise UserError(f"lang = {language!r}; allowed: {', '.join(LANGUAGES)}")
    return LANGUAGES[language]


def said(text: str, words: Words) -> str:
    """A short generated text, such as what limits a verdict, in the page's language; what is not known stays English.

    Args:
        text: in English.
        words: of the page.

    Example:
        >>> said("3 of 5 seeds", KOREAN), said("3 of 5 seeds", ENGLISH)
        ('시드 5개 중 3개', '3 of 5 seeds')
    """
    if words is ENGLISH:
        return text
    for pattern, becomes in _KOREAN_LIMITS:
        text = pattern.sub(becomes, text)
    return text


def verdict_in(judgement: Judgement, words: Words) -> str:
    """The verdict with what limits it, in the page's language."""
    limit = verdict_text(judgement).removeprefix(judgement.verdict)
    return words.verdicts[judgement.verdict] + said(limit, words)
