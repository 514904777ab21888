"""The pages on which people compare responses, and those on which an owner watches over it, and over runs.

    app         the application: pages, JSON for them, what is refused
    guard       who may do what: sessions, roles, the origin of requests, headers
    passwords   argon2id
    entry       signing in and out, invitations
    annotating  the annotation page and what it sends
    live        where a person writes, and two policies answer
    red_teaming a chat that is meant to fail, and its ratings
    policies    what answers them, over HTTP
    owning      campaigns, people, agreement
    pictures    of a campaign, drawn by a process of their own
    watching    runs as they go: their pages, what is sent to them, stop and go on
    watches     what is sent, made once for all who look
    serving     `accord web`: uvicorn on loopback, and a first link

Pages are made by Jinja with everything escaped; what changes on them is done by small modules in static/, which write
texts of models and people as text. Nothing comes from anywhere else, and nothing in a page is a script of its own.
"""
