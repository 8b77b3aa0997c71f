"""The OAuth endpoints under `/services/oauth2`, the identity URL and OpenID discovery."""
