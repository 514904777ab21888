"""Accord beside what a user would otherwise take: seconds, memory, and the share of what the machine can multiply.

    python -m bench                          # the cases
    python -m bench dpo sft --rounds 5       # some of them; `scaling` is all that begin so
    python -m bench dpo --contestants accord,trl-bf16
    python -m bench dpo --smoke              # whether it runs: tiny batches, one round, nothing kept

How it is measured. In every round each contestant is a fresh process, one after the other (A B C, A B C ...), with the
same weights, examples, batch, lengths and number of threads. Round r has batch r of the data, so the spread is that of
data and of the machine. What is trained on is one batch (or, for length grouping, four), again and again; the first
pass is not timed. A step lies between the ends of two optimizer steps, with all that happens in between.

What it must agree on. The loss and the gradient's norm of the first step, before anything has moved, are compared with
Accord's in the same round; a case whose contestants do not compute the same fails. `bench.speed.agreement` says how
far they may differ, and why.

What is counted. Tokens are real ones, without padding. Useful FLOPs are those of training on each prompt once, however
often a contestant computes it: forward and backward of the tokens of a prompt and of its responses, the head at the
tokens that are scored, attention to what is visible. Passes of a reference are nobody's useful work. All contestants
of a round have that numerator; a share divides it by the time, and by the matrix-product rate in the contestant's own
dtype, measured in its process just before and just after what is timed. Memory is the peak of the process, loading
and children included.

Where something is written (sampling, PPO), nothing is done to anybody's stop token. The prompts are questions that the
model answers at length, the tokens up to the stop are counted, and contestants are compared in seconds a token.

Results: bench/results/speed/CASE.json, every raw number, and no text of the data, which is that of ACCORD_DATA.
"""
