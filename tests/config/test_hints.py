from recbole_aia.config.hints import did_you_mean


def test_words_that_are_alike_are_offered_the_nearest_first():
    assert did_you_mean("logistc", ["mlp", "logistic"]) == " Did you mean logistic?"
    assert did_you_mean("mlp_rad", ["mlp", "mlp_raid"], cutoff=0.5, n=2) == " Did you mean mlp_raid or mlp?"


def test_nothing_is_said_where_no_word_is_alike():
    assert did_you_mean("xyz", ["mlp", "logistic"]) == ""
