"""What experiments do alike: stages that arms share, questions, policies, rates, own data, pictures, source tables.

``language``, ``sources`` and ``tuning`` import no torch at module level, so that a paper's configuration may use them.
"""
