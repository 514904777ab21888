"""What each method buys on the film-review task: gold score against KL, and against compute.

    python -m bench.sentiment run --seed 1                     # every case of a seed that is not done yet
    python -m bench.sentiment run --seed 1 --case ppo-0.1      # one
    python -m bench.sentiment table
    python -m bench.sentiment picture docs/sentiment.svg

A seed has a proxy (a reward model on the labels of people, which is what is optimised) and policies of its own. Seeds
share the SFT policy that everything starts from, which is also the reference; gold, another reward model, with labels
of other snippets, which judges and which nothing was trained on; and the test prompts: intervals are over seeds, given
those. A second judge of another kind, a linear model of words, is fitted on labels that are neither's.

Settings are a first guess, and none is tuned. Learning rates are the same for all that learn from a reward: 3e-5 over
32 optimizer steps, each of which sees 8 prompts. How far a method goes for that, and how far apart its seeds lie, is
part of what the picture shows; that one lies higher than another at the same KL is a finding where intervals are apart.

Policies answer 128 test prompts 4 times each at temperature 1. Best of n chooses by the proxy among 64, finished
responses first; the estimate is unbiased, its KL is the upper bound log n - (n - 1) / n. KL is per sequence, in nats,
to the reference, which is asked the plain prompt whatever the policy was asked. Policies that learn from their own
samples also leave a path: KL and gold on the prompts that they learn from, every second iteration.

A response that is cut off is judged as it is, and counts as unfinished. In training it is left behind finished ones by
best of n and rejection sampling, gets the score -0.5 on-policy, and is ordered by the proxy for DPO. The plain request
leaves most of the start model's responses unfinished.

Compute counts 2 floating-point operations for each parameter and token of a forward pass, and 6 in training; SFT,
reward models and what only measures are left out. Responses are taken to be as long as the SFT policy's.

bench/results/sentiment/CASE-SEED.json holds the mean scores of each prompt, a digest of the settings, and no text.
"""
