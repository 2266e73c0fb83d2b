"""How well a trained model does on benchmarks: the held-out questions of a run, or those of lmms-eval.

    harnesses ─→ questions | lmms ─→ scores ─→ evaluation.json, metrics.jsonl
    run: the stages of a run folder; model: any model folder

A harness is imported when it is used, and asked for by name; `harnesses.require` says beforehand what is missing.
"""

from dpsl.evaluate.harnesses import require
from dpsl.evaluate.run import evaluate_model, evaluate_run, pending
from dpsl.evaluate.scores import Evaluation, Score

__all__ = ["Evaluation", "Score", "evaluate_model", "evaluate_run", "pending", "require"]
