"""Policies over HTTP, as OpenAI's clients ask for them.

worker     a policy that writes many responses at once, in a thread of its own
messages   what a request says, checked
app        the addresses, and errors in OpenAI's shape
serving    `accord serve`: uvicorn on loopback
"""
