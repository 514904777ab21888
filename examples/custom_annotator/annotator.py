"""An annotator that is a program. Call a judge model here, ask a colleague, or look an answer up."""

POLITE = ("please", "thank", "welcome", "glad", "happy to")


def judge(prompts, responses, **kwargs):
    """Grades for the responses of each comparison, higher is better; None for a comparison that is not answered.

    prompts: conversations, lists of {"role", "content"}. responses: for each of them the texts to compare.
    """
    return [grades(texts) for texts in responses]


def grades(texts):
    if not any(text.strip() for text in texts):
        return None
    return [politeness(text) for text in texts]


def politeness(text):
    """Polite words count, and at the same politeness the longer answer is a little better."""
    return sum(word in text.lower() for word in POLITE) + min(len(text), 400) / 400
