"""What the Llama 2 paper (arXiv:2307.09288) found, looked for on a small model. No effect is a result, too.

    python -m bench.llama2 run --seed 1                       # every case of a seed that is not done yet
    python -m bench.llama2 run --seed 1 --case margin-small   # one
    python -m bench.llama2 table
    python -m bench.llama2 picture docs/llama2.svg

    margin        table 28: margins none, small, large, by how clear a preference is
    auxiliary     table 29: the auxiliary safety loss, by how well unsafe answers are found
    cross         table 8: a helpful and a harmless model on each other's comparisons
    rounds        figure 11: each round against the last, by an evaluator that nothing was trained against
    distillation  figure 16: safety context distillation, the mean and the tail of the safety score, and false refusals

Each case's file says how it measures. Reward models are adapters of rank 8 on SmolLM2-135M-Instruct; settings are a
first guess, and none is tuned. Training sets are small, so that a case takes minutes of one core: what differs between
settings is measured pair by pair on the same data, the same order and the same start.

bench/results/llama2/CASE-SEED.json holds a digest of the settings and numbers, such as the scores of the test items by
their place, and no text; the table reads the data again to say what they mean. ACCORD_DATA names the data's folder.
"""
