"""Policies and rewards over HTTP, as OpenAI's clients ask for them.

worker        a policy that writes many responses at once, in a thread of its own
reward_worker a reward that scores many at once, in a thread of its own
served        what there is, by name
requests      what requests have in common, checked
asking        from a request to the workers and back
chat          chat completions
completions   completions of plain texts, and the log-probabilities of given ones
logprobs      log-probabilities in OpenAI's shapes
best          the best of N by a reward
score         scores of conversations
tokenizer     a policy's tokenizer
errors        errors in OpenAI's shape
guard         the length of a request, and its key
app           the addresses
serving       `accord serve`: uvicorn on loopback
"""
