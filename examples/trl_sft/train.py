"""TRL's SFTTrainer with a prior in it: the mixin, and the collator around TRL's own."""

import argparse
from pathlib import Path

import dpsl
import priorlang

dpsl.prepare_process()  # before DeepSpeed: a single process needs no launcher, a CPU compiles nothing

import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402
from questions import SHADES, questions, tokenizer  # noqa: E402

FOLDER = Path(__file__).parent


class ShapedTrainer(dpsl.ShapingMixin, trl.SFTTrainer):
    """SFTTrainer, whose routers know which token is what."""


def main() -> None:
    """Fine-tune a small mixture of experts on questions about digits, and say how it routes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--packing", action="store_true", help="several questions to a row, without padding")
    parser.add_argument("--output", type=Path, default=FOLDER / "data" / "run")
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    arguments = trl.SFTConfig(
        output_dir=str(options.output),
        max_steps=options.steps,
        max_length=160,
        packing=options.packing,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=options.accumulation,
        gradient_checkpointing=False,
        learning_rate=3e-3,
        logging_steps=max(options.steps // 3, 1),
        save_strategy="no",
        report_to="none",
        bf16=False,
        router_aux_loss_coef=0.0,  # else TRL adds load balancing, which pulls against a prior that leans
        use_cpu=not torch.cuda.is_available(),  # else processes of a machine without a GPU train apart
    )
    transformers.set_seed(0)
    words = tokenizer()
    model = transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            vocab_size=len(words),
            hidden_size=48,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
            num_experts_per_tok=2,
            pad_token_id=words.pad_token_id,
            eos_token_id=words.eos_token_id,
            bos_token_id=None,
        )
    )
    table = priorlang.compile(priorlang.load(FOLDER / "questions.prior"))
    shaper = dpsl.attach(model, table, window=options.accumulation)
    trainer = ShapedTrainer(
        model=model, args=arguments, shaper=shaper, train_dataset=questions(), processing_class=words
    )
    trainer.data_collator = dpsl.TokenCollator(  # around TRL's, which knows how rows are packed
        trainer.data_collator, table, image_token_id=words.convert_tokens_to_ids(SHADES)
    )
    trainer.train()
    statistics = shaper.statistics()  # of all ranks
    if trainer.is_world_process_zero():
        for name, load_K in zip(statistics.group_name, statistics.load, strict=True):
            print(f"{name}: {100 * load_K[:2].sum() / load_K.sum():.0f} % of its slots to experts 0 and 1")


if __name__ == "__main__":
    main()
