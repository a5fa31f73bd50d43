"""JSON Schema front end: from a schema to frames of the automaton.

``document`` finds subschemas and references; ``node`` reads keywords; ``algebra`` turns them into
one Boolean formula for each JSON type; ``scalars``, ``objects``, ``arrays`` and ``verdicts`` build
the frames; ``library`` holds the frames that no schema changes.
"""
