"""The words of the language, in one sentence each: for hovers, completion and the JSON Schema."""

from __future__ import annotations

KEYWORD_MEANINGS = {
    "priorlang": "`priorlang 1` begins every file and names the version of the language.",
    "import": "Reads another prior file, in either form; each file counts once, however it is reached.",
    "model": "States layers, experts, top_k, and which layers route (`routed`; all by default).",
    "attribute": "A closed list of members: what can be known of a token. Members nest; a parent stands for its leaves.",
    "adds": "Extends the members of an attribute that an imported file declares.",
    "experts": "Names a group of experts; in `model`, the number of experts in each routed layer.",
    "layers": "Names a group of decoder layers, numbered from 0; in `model`, how many there are.",
    "param": "Names a value; `$name` may stand wherever a number may, and `--set name=value` gives it another.",
    "default": "What holds where no rule says otherwise: a base and a weight, or `unshaped`.",
    "rule": "Changes what the cells it matches ask for. The order of rules in a file never matters.",
    "schedule": "Multiplies every weight over the shaped steps: linear between its points, constant outside.",
    "expect": "A test of the prior, tried in every cell that it matches: a comparison, or `unshaped`.",
    "allow": "Silences an opinion of the compiler, everywhere or in some rules, and says why.",
    "overrides": "Silences other rules wherever both match; `overrides all` silences every other rule.",
    "for": "Selects token classes by the members of attributes, joined by `and`.",
    "and": "Joins conditions on different attributes; both must hold.",
    "in": "`in layers …` selects decoder layers; `allow … in …` names rules.",
    "not": "Everything but the whole set behind it.",
    "all": "Every member, expert or layer; after `overrides`, every other rule.",
    "base": "α before any preference: a number, a vector, a ramp, or a number with shares.",
    "share": "`share 0.6 to visual` gives these experts that part of A = K · base; `share(visual)` is their part "
    "of the expected probability.",
    "prefer": "Adds to the concentration α of each of these experts.",
    "avoid": "Takes from the concentration α of each of these experts.",
    "by": "How much a preference adds or takes; after `split`, the attributes that split.",
    "weight": "λ, the coefficient of the shaping loss.",
    "unshaped": "Leaves the tokens of a cell alone, whatever other rules say.",
    "split": "`split by dataset` divides a population further, by the members of an attribute.",
    "ramp": "A value that is linear in the layer between the ends of a set of layers, and constant outside.",
    "step": "`1..23 step 2` takes every second one of a range.",
    "to": "The other end of a ramp, or the experts of a share.",
    "over": "The layers that a ramp runs over.",
    "because": "Why a finding is allowed.",
}
"""Every keyword of the grammar."""

SETTING_MEANINGS = {
    "layers": "The number of decoder layers of the model.",
    "experts": "The number of experts in each routed layer.",
    "top_k": "How many experts a token visits.",
    "routed": "The decoder layers that route; all of them, unless this says otherwise.",
}
"""The settings of `model`."""

MEASURE_MEANINGS = {
    "share": "A set's part of the expected probability, summed over its experts.",
    "load": "A set's part of the top-k slots.",
    "alpha": "The concentration of one expert.",
    "weight": "λ, the coefficient of the shaping loss.",
}
"""What `expect` can measure."""
