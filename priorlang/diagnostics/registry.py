"""Every finding there is: its stable code, its name, and what it means.

One line each; the documentation and `priorlang help CODE` come from here. Codes are never reused.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of finding. A `heuristic` is an opinion, which `allow` can silence; the rest are facts."""

    code: str
    name: str
    meaning: str
    advice: str
    heuristic: bool = False


_ENTRIES = (
    # PL1: files and their form
    Entry(
        "PL101", "syntax-error", "The text is not the language.", "Read what was expected at the place shown."
    ),
    Entry(
        "PL102",
        "missing-file",
        "There is no such file.",
        "Check the path; paths are relative to the file that names them.",
    ),
    Entry(
        "PL103",
        "unreadable-file",
        "The file cannot be read as text.",
        "Check its permissions and save it as UTF-8.",
    ),
    Entry(
        "PL104",
        "unsupported-version",
        "The file is written in another version of the language.",
        "Write `priorlang 1`.",
    ),
    Entry("PL105", "duplicate-key", "A key stands twice in a YAML mapping.", "Remove one of the two."),
    Entry(
        "PL106", "unknown-key", "There is no such key here.", "Use one of the keys that the message lists."
    ),
    Entry(
        "PL107",
        "import-cycle",
        "Imports lead back to a file that is being read.",
        "Move what both files need to a third one.",
    ),
    Entry(
        "PL108", "unwritable-file", "The place cannot be written to.", "Check the folder and its permissions."
    ),
    Entry(
        "PL109",
        "invalid-table",
        "The file is no prior table, or a byte of it is wrong.",
        "Compile the prior file again.",
    ),
    Entry(
        "PL110",
        "too-large",
        "The prior is larger than the compiler takes.",
        "Use fewer of what the message names: members, routed layers, statements, clauses.",
    ),
    Entry(
        "PL111",
        "invalid-routing",
        "There is no routing to read: no run, no statistics in it, or a file of another kind.",
        "Name the folder of a run that measured held-out data, or of one of its stages.",
    ),
    # PL2: names and values
    Entry(
        "PL201",
        "unknown-name",
        "Nothing declares this name.",
        "Declare it, or use the name that the message suggests.",
    ),
    Entry(
        "PL202",
        "duplicate-name",
        "A name is declared twice.",
        "Rename one; an importer may restate settings, parameters, the default and the schedule.",
    ),
    Entry(
        "PL203",
        "unknown-member",
        "The attribute has no such member.",
        "Use a member of the attribute; a later file extends it with `adds`.",
    ),
    Entry(
        "PL204",
        "out-of-range",
        "A number or an index lies outside what the model or the language allows.",
        "Use a value from the range that the message gives.",
    ),
    Entry(
        "PL205",
        "invalid-value",
        "A value of the wrong kind stands here.",
        "Write the kind of value that the message names.",
    ),
    Entry(
        "PL206",
        "expert-count",
        "A vector has not one number for each expert.",
        "Give as many numbers as the model has experts.",
    ),
    Entry(
        "PL207",
        "parameter-cycle",
        "A parameter is defined by itself.",
        "Give one parameter of the circle a number.",
    ),
    Entry("PL208", "group-cycle", "A group contains itself.", "Spell out one group of the circle."),
    Entry(
        "PL209",
        "missing-model",
        "Neither the file nor --model states a number that the prior needs.",
        "Add it to `model { … }`.",
    ),
    Entry(
        "PL210",
        "model-mismatch",
        "The file contradicts the model it is used with.",
        "Change the file to the model's number.",
    ),
    Entry(
        "PL211",
        "duplicate-clause",
        "A clause stands twice where it may stand once.",
        "Keep one, or join the two.",
    ),
    Entry("PL212", "misplaced-clause", "A clause stands where it has no meaning.", "Move it to a rule."),
    Entry(
        "PL213",
        "missing-default",
        "Nothing says what holds where no rule matches, or a rule shapes a cell that has no base or weight.",
        "Add a `default`, or state the base and weight in the rule.",
    ),
    Entry(
        "PL214", "unused-name", "Nothing uses this name, or nothing of this import.", "Remove it, or use it."
    ),
    # PL3: rules
    Entry(
        "PL301",
        "conflict",
        "Two active rules write a different base or weight to one cell.",
        "Let one override the other, or make their selectors disjoint.",
    ),
    Entry(
        "PL302",
        "override-cycle",
        "Rules override each other in a circle, of two or of more, where all of them match: none is active there.",
        "Remove one of the `overrides`; of two rules, let the exception keep its own.",
    ),
    Entry(
        "PL303",
        "override-no-overlap",
        "A rule overrides another that it never meets.",
        "Remove the `overrides`, or widen the selector.",
    ),
    Entry("PL304", "dead-rule", "The rule matches no cell.", "Check its selector against the routed layers."),
    Entry(
        "PL305",
        "shadowed-rule",
        "The rule is overridden wherever it matches.",
        "Remove it, or narrow the rules that override it.",
    ),
    Entry(
        "PL306",
        "unknown-by-negation",
        "A `not` lets tokens with unknown values through.",
        "Add `| unknown` to what is excluded, if that is not meant.",
        True,
    ),
    Entry(
        "PL307",
        "redundant-rule",
        "The table is the same without the rule.",
        "Remove it, unless it is there for its readers.",
    ),
    Entry(
        "PL308",
        "widened-not",
        "A later file adds members, experts or layers that a `not` of an imported file takes in.",
        "Check that it is meant; if not, override the imported rule.",
    ),
    Entry(
        "PL309",
        "contested-expert",
        "One rule prefers an expert that another avoids in the same cell.",
        "Let one override the other, or state the net amount once.",
        True,
    ),
    Entry(
        "PL310",
        "uncovered-class",
        "Rules speak of most token classes, and of this one none does.",
        "Write a rule for it, or say that the default is meant.",
        True,
    ),
    # PL4: the Dirichlet itself
    Entry(
        "PL401",
        "invalid-alpha",
        "A concentration is not finite, or not above 0.",
        "Raise the base, or avoid by less.",
    ),
    Entry("PL402", "invalid-weight", "A weight λ is not finite.", "Use a finite weight."),
    Entry(
        "PL403",
        "extreme-alpha",
        "A concentration is so small, or their sum so large, that the loss has little slope to follow.",
        "Use concentrations from .05 up to a sum of 10,000.",
        True,
    ),
    Entry(
        "PL404",
        "coarse-marginal",
        "A marginal's shape lies beyond those for which the compiled table keeps its stated error.",
        "Use concentrations between .01 and a million.",
        True,
    ),
    # PL5: what the author expects
    Entry(
        "PL501",
        "expectation-failed",
        "An `expect` line does not hold in every matching cell.",
        "Compare the attained value in the message with the claim.",
    ),
    # PL6: misspecification, from the file, from token shares, from routing
    Entry(
        "PL601",
        "weak-preference",
        "A preference is too weak to be told from none.",
        "Raise it, or drop it.",
        True,
    ),
    Entry(
        "PL602",
        "load-imbalance",
        "The prior asks some experts to carry far more than others.",
        "Give the more frequent tokens more experts, or weaken their preference; or say that it is meant.",
        True,
    ),
    Entry(
        "PL603",
        "starved-class",
        "A token class prefers fewer experts than each of its tokens is routed to.",
        "Prefer at least top_k experts for it, or say that it is meant.",
        True,
    ),
    Entry(
        "PL604",
        "shortfall",
        "Too many tokens belong to classes that prefer fewer experts than they are routed to.",
        "Give the most frequent kinds of token at least top_k experts.",
        True,
    ),
    Entry(
        "PL605",
        "small-population",
        "A batch gives a population too few tokens for an empirical CDF.",
        "Use a larger batch, accumulate gradients, or split by fewer attributes.",
        True,
    ),
    Entry(
        "PL606",
        "unseen-class",
        "A rule is for tokens of which the data has none.",
        "Check how the data spells its attributes; drop the rule if there are to be none.",
        True,
    ),
    Entry(
        "PL607",
        "invalid-shares",
        "The token shares cannot be read, or do not fit the prior's attributes.",
        "Give one number for each leaf member: fractions that add up to 1, or counts.",
    ),
    Entry(
        "PL610",
        "prior-mismatch",
        "Before the prior is on, the router sends tokens to other experts than the prior would.",
        "Check which experts the rule prefers, and at which tokens; docs/checks/routing.md says what is measured.",
        True,
    ),
    Entry(
        "PL611",
        "not-attained",
        "The prior is on, and the routing is not distributed as it asks.",
        "Raise the weight, train longer or give routers a higher learning rate; or fit the prior that is there.",
        True,
    ),
    # PL7: training files
    Entry("PL701", "missing-key", "A key that training needs is absent.", "Add it."),
    # PL9: ourselves
    Entry(
        "PL901",
        "internal-error",
        "The compiler contradicts itself; this is a fault of priorlang.",
        "Please report the file.",
    ),
)

REGISTRY: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def entry_of(word: str) -> Entry | None:
    """The entry of a code or a name, in any case."""
    for entry in _ENTRIES:
        if word.casefold() in {entry.code.casefold(), entry.name}:
            return entry
    return None
