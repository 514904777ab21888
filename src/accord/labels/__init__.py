"""The label database: what people are asked, who is asked, and what they said. Nothing that was said is ever changed.

    schema       the tables
    database     SQLite or PostgreSQL: transactions that are safe on the disk before anybody is told so
    migrate      from an older schema to this one
    answers      what an annotator answers to a comparison, as it was clicked, and the judgement that it is
    users        people, roles, invitations, sessions
    campaigns    what is asked of whom, with which guidelines
    queue        leases, submissions, skips, undo
    snapshot     comparisons with their judgements, as of now
    quality      agreement, and what can be told of each person
    live         prompts that people write
    red_team     attacks, replies and ratings; red_team_results counts them, red_team_export makes data of them
    replay       prompts that broke an earlier policy, put to a later one
    erase        tombstones
    events       the audit trail

Functions take a connection within a transaction of their caller's, so that what belongs together is one.
"""
