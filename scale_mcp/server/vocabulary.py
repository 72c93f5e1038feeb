"""The words behind the tool search: what says nothing, what means the same, and how a word loses its ending."""

from __future__ import annotations

import re

NOTHING = """
a an and any are as at be been by can could did do does for from have how i if in into is it its like me my
of off on or our out please so some that the their them then there these they this to up us want was we were
what when with would you your need should will about just give tell
"""
STOP_WORDS = frozenset(NOTHING.split())
ASKING = """
which who whose what how is are was were has have did does do when where why
show list find look get fetch see search view count enumerate overview
"""
QUESTION_WORDS = frozenset(ASKING.split())

# Words that mean the same when people ask for things. A word may stand in several groups.
GROUPS = """\
create make new submit start request build begin order post send insert place have
add append put attach include assign extra
delete remove erase drop clear strip unset detach free release take away
cancel stop abort withdraw kill revoke undo mistake accident call
list all browse every everything everybody enumerate search find show which filter overview query
get fetch read look retrieve view show inspect see open detail check
update change edit modify set replace rename overwrite adjust
status progress far state many remaining left finished done pending waiting count complete ready percentage \
  answered doing created
task job item annotation ticket
batch group bundle set
project workspace campaign
image picture photo photograph jpg jpeg png screenshot xray
box bounding rectangle polygon outline geometry cuboid ellipse line keypoint
segmentation segment mask pixel semantic panoptic instance silhouette
video clip footage movie recording frame mp4 follow track
playback player watch stream
lidar pointcloud point cloud 3d sensor radar pcd scan cuboid
entity ner name person organization span extract relationship mention
text paragraph sentence string article words
collection survey questionnaire form question answer rating rate rank category categorize classify \
  classification opinion judge compare preference chatbot model llm prompt sentiment moderation caption describe \
  human
transcription transcribe ocr document invoice receipt pdf scan page handwriting handwritten digitize paper \
  letter contract
evaluation gold golden benchmark honeypot truth expected reference quiz
training train trainee onboarding tutorial course attempt practice lesson exam pass qualify
quality accuracy score correct audit review performance
audit fix fixless review reviewer error mistake correct verdict feedback complain wrong
labeler annotator tasker worker teammate people person user labeller expert someone somebody
teammate team member colleague people user coworker staff account person
invite bring onboard welcome join email
role permission access right manager admin privilege promote demote
assignment assign allocate responsible allowed work who
priority urgent important order first rank queue sequence rush sooner next fast expedite
reset default original restore undo revert clear
finalize finish submit close launch release lock complete seal kick start
upload send file local disk push laptop computer machine drive folder desktop device
import url link web website ingest http https remote pull internet online bucket
file asset attachment data upload media stored
callback webhook notification notify ping hook endpoint resend again retry
metadata note custom information extra field
tag keyword label category mark
unique identifier id external key duplicate dedupe name own
ontology taxonomy class vocabulary label category choice
parameter setting configuration config default instruction guideline option param inherit future
response result answer output download annotation outcome mask json label
download export save retrieve store
label annotate annotation draw mark outline tag
studio internal inhouse own workforce
allow permit authorize enable let grant assign
cancel discard scrap annul terminate halt quit axe bin nix
invite seat login hire register newcomer sign
labeler freelancer contractor intern student crew hand agency crowd staff hire member
finalize begin go proceed publish launch start release
urgent hurry asap speed escalate deadline rush fast ahead
project space effort programme initiative campaign
batch delivery lot collection shipment round
instruction spec guideline guidance brief rule wording guide manual
assign deploy staff allocate move
unassign remove withdraw pull detach release
class category type kind
error fail failure wrong broken
result output outcome label mask
bill invoice receipt statement
event news happen activity history timeline log
wait watch until monitor alert listen
training practice course exam test qualification newcomer
proj projs project
pic pics image picture photo snap shot still
vid video film
seg semseg segmentation
meta metadata
params param parameter
qa audit quality review
bbox bboxes box
docs doc document
cb callback
org orgs organization
uid identifier id
info details
msg notification
config settings
"""

TOKEN = re.compile(r"[a-z0-9]+")
BRITISH = re.compile(r"is(?=(e|ed|es|er|ers|ing|ation|ations)$)(?<=[lrtdngm]is)")  # categorise, organisation
SUFFIXES = (
    ("ational", "ate"), ("ization", "ize"), ("fulness", "ful"), ("iveness", "ive"), ("ibility", "ible"),
    ("ations", "ate"), ("ation", "ate"), ("ments", "ment"), ("ators", "ate"), ("ator", "ate"), ("ellers", "el"),
    ("eller", "el"), ("elers", "el"), ("eler", "el"), ("ingly", ""), ("edly", ""), ("ings", ""), ("ing", ""),
    ("ities", "ity"), ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"),
    ("ers", ""), ("er", ""), ("ed", ""), ("ly", ""), ("es", "e"), ("s", ""),
)  # fmt: skip


def words(text: str) -> list[str]:
    """The stems of a text's words, without the ones that say nothing."""
    return [stem(word) for word in TOKEN.findall(text[:2000].lower()) if word not in STOP_WORDS]


def plurals(text: str) -> list[str]:
    """The words in the plural, marked, so that they match only each other."""
    found = TOKEN.findall(text[:2000].lower())
    return [
        f"{word}+" for word in found if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    ]


def is_question(text: str) -> bool:
    """Whether somebody wants to know something, rather than have something done."""
    found = TOKEN.findall(text[:200].lower())
    return bool(found) and (found[0] in QUESTION_WORDS or text.rstrip().endswith("?"))


def stem(word: str) -> str:
    """A word without its ending; crude, but the same for all forms of it, in British and American spelling."""
    word = BRITISH.sub("iz", word)
    for ending, instead in SUFFIXES:
        if word.endswith(ending) and len(word) - len(ending) + len(instead) >= 3:
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 4 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]  # tagging → tagg → tag
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _synonyms() -> dict[str, tuple[str, ...]]:
    near: dict[str, dict[str, None]] = {}
    for group in GROUPS.splitlines():
        stems = [stem(word) for word in group.split()]
        for term in stems:
            near.setdefault(term, {}).update(dict.fromkeys(other for other in stems if other != term))
    return {term: tuple(others) for term, others in near.items()}


SYNONYMS = _synonyms()
