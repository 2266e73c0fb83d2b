"""transformers' own Trainer with a prior in it: a mixin, a collator, and everything else as it was."""

import argparse
from pathlib import Path

import dpsl
import priorlang

dpsl.prepare_process()  # before DeepSpeed: a single process needs no launcher, a CPU compiles nothing

import torch  # noqa: E402
import transformers  # noqa: E402
from questions import SHADES, questions, tokenizer  # noqa: E402

FOLDER = Path(__file__).parent


class ShapedTrainer(dpsl.ShapingMixin, transformers.Trainer):
    """Trainer, whose routers know which token is what."""


def main() -> None:
    """Train a small mixture of experts to answer questions on digits, and say how it routes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--output", type=Path, default=FOLDER / "data" / "run")
    parser.add_argument("--report-to", default="none", help="tensorboard, wandb, mlflow")
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    arguments = transformers.TrainingArguments(
        output_dir=str(options.output),
        max_steps=options.steps,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=options.accumulation,
        learning_rate=3e-3,
        logging_steps=max(options.steps // 3, 1),
        save_strategy="no",
        report_to=options.report_to,
        use_cpu=not torch.cuda.is_available(),  # else processes of a machine without a GPU train apart
        deepspeed={
            "zero_optimization": {"stage": 2},
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
        },
    )
    transformers.set_seed(0)
    words = tokenizer()
    model = transformers.OlmoeForCausalLM(
        transformers.OlmoeConfig(
            vocab_size=len(words),
            hidden_size=48,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_experts=6,
            num_experts_per_tok=2,
            pad_token_id=words.pad_token_id,
        )
    )
    table = priorlang.compile(priorlang.load(FOLDER / "questions.prior"))
    shaper = dpsl.attach(model, table, window=options.accumulation)
    trainer = ShapedTrainer(
        model=model,
        args=arguments,
        shaper=shaper,
        train_dataset=questions(words),  # records with `input_ids`, `labels` and `task`
        data_collator=dpsl.TokenCollator(
            transformers.DataCollatorForSeq2Seq(words),
            table,
            image_token_id=words.convert_tokens_to_ids(SHADES),
        ),
    )
    trainer.train()
    statistics = shaper.statistics()  # of all ranks
    if trainer.is_world_process_zero():
        for name, load_K in zip(statistics.group_name, statistics.load, strict=True):
            shares = ", ".join(f"{100 * share:.0f} %" for share in load_K / load_K.sum())
            print(f"{name}: experts 0 to 5 take {shares}")


if __name__ == "__main__":
    main()
