"""Programs that several tests run. The tug-of-war is that of the specification's check 2."""

_WORLD = """
    def pull(team, match):
        return sum(strength(athlete) * effort(athlete, match) / 50 for athlete in team)

    def beats(winners, losers, match):
        return pull(winners, match) > pull(losers, match)

    # Bob and Mary beat Tom and Sue.
    condition(beats(["bob", "mary"], ["tom", "sue"], 1))
    # Sue beat Mary.
    condition(beats(["sue"], ["mary"], 2))
    # Bob and Sue lost to Tom and Jim.
    condition(beats(["tom", "jim"], ["bob", "sue"], 3))
    # Jim beat Bob.
    condition(beats(["jim"], ["bob"], 4))
"""
TUG_OF_WAR = f"""
def model():
    @mem
    def strength(athlete):
        return max(gaussian(100, 20), 0)

    @mem
    def effort(athlete, match):
        level = categorical([0.2, 0.6, 0.2], [40, 60, 80])
        return min(max(gaussian(level, 10), 0), 100)
{_WORLD}
    # Bob is strong.
    condition(strength("bob") > 100)
    return {{
        "strength": strength("bob"),
        "effort": effort("jim", 3),
        "win": beats(["bob", "mary"], ["jim", "sue"], 5),
    }}
"""
FULL = f"""
def model():
    @mem
    def strength(athlete):
        return max(gaussian(100, 20), 0)

    @mem
    def effort(athlete, match):
        if strength(athlete) > 140:
            level = categorical([0.05, 0.15, 0.8], [40, 60, 80])
        elif strength(athlete) < 90:
            level = categorical([0.8, 0.15, 0.05], [40, 60, 80])
        else:
            level = categorical([0.2, 0.6, 0.2], [40, 60, 80])
        return min(max(gaussian(level, 10), 0), 100)
{_WORLD}
    wins = sum(beats(["bob", "sue"], ["tom", "jim"], 100 + future) for future in range(100))
    return {{"rank": rank_among(strength, "bob"), "effort": effort("jim", 3), "win": wins}}
"""
COINS = """
def model():
    @mem
    def heads(coin):
        return flip(0.5)

    # At least one shows heads.
    condition(heads("first") or heads("second"))
    return {"both": heads("first") and heads("second")}
"""


def rare(*rates):
    """Three root events and four matches, as in the specification's section 2.4 (3)."""
    slipped, sprained, tired = rates
    return f"""
def model():
    @mem
    def strength(athlete):
        return max(gaussian(100, 20), 0)

    @mem
    def effort(athlete, match):
        return min(max(gaussian(60, 15), 0), 100)

    @mem
    def slipped(athlete, match):
        return flip({slipped})

    @mem
    def sprained(athlete, match):
        return flip({sprained})

    @mem
    def tired(athlete, match):
        return flip({tired})

    def pull(athlete, match):
        power = strength(athlete) * effort(athlete, match) / 50
        if slipped(athlete, match):
            power *= 0.8
        if any_previous_time(lambda time: sprained(athlete, time), match):
            power *= 0.7
        return power * (0.9 if tired(athlete, match) else 1)

    def beats(winner, loser, match):
        return pull(winner, match) > pull(loser, match)

    # Tom beat Bob.
    condition(beats("tom", "bob", 1))
    # Bob slipped in that match.
    condition(slipped("bob", 1))
    # Bob beat Sue.
    condition(beats("bob", "sue", 2))
    # Sue had sprained her ankle.
    condition(sprained("sue", 2))
    # Tom beat Sue, Bob beat Tom.
    condition(beats("tom", "sue", 3))
    condition(beats("bob", "tom", 4))
    # Tom was tired.
    condition(tired("tom", 4))
    return {{"bob": strength("bob"), "tom": strength("tom")}}
"""
