"""Bearer secrets are long, new each time, and kept as hashes."""

from ninelives_server.oauth import bearer


def test_secrets_have_256_bits_and_fit_into_a_url():
    """43 characters of URL-safe base64; no two alike."""
    made = {bearer.new_secret() for _ in range(50)}

    assert len(made) == 50
    assert all(len(secret) == 43 and secret.replace("-", "").replace("_", "").isalnum() for secret in made)


def test_only_the_same_secret_matches():
    """An unset hash matches nothing, not even the empty text."""
    stored = bearer.hash_secret("right")

    assert bearer.matches("right", stored)
    assert not bearer.matches("wrong", stored)
    assert not bearer.matches("", None)
    assert not bearer.matches("", stored)
