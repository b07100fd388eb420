"""Settings that could only fail later are refused at once, by a clear line and status 2."""

import pytest
from pydantic_settings import SettingsConfigDict

from runtime.settings import ServiceSettings, read

GIVEN = {
    "AUTH_KEYS": "keys.json",
    "AUTH_SIGNING_KEY": "key.json",
    "DATABASE_URL": "postgresql+asyncpg://user@host/name",
    "NATS_URL": "nats://localhost:4222",
    "NATS_USER": "service",
    "NATS_PASSWORD": "password",
    "LISTEN": "127.0.0.1:0",
}


class SomeSettings(ServiceSettings):
    """Those of a service that has none of its own."""

    model_config = SettingsConfigDict(env_prefix="SOME_")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which all is well."""
    for name, value in GIVEN.items():
        monkeypatch.setenv(f"SOME_{name}", value)
    return monkeypatch


@pytest.mark.parametrize(
    "url",
    [
        "nats://localhost:4222",
        "localhost",
        "tls://a.example,tls://b.example:4223",
        "nats://user:secret@[::1]:4222",
    ],
)
def test_an_address_of_a_broker_is_taken(given: pytest.MonkeyPatch, url: str) -> None:
    given.setenv("SOME_NATS_URL", url)
    assert read(SomeSettings).nats_url == url


@pytest.mark.parametrize(
    "url",
    [
        "nats://me:secret@localhost:abc",
        "nats://me:secret@localhost:70000",
        "nats://me:secret@localhost:0",
        "nats://me:secret@",
        "http://me:secret@localhost",
        "nats://me:secret@[::1",
        "nats://localhost:4222,",
        "nats://me:secret/key@localhost",
        "",
    ],
)
def test_what_is_no_address_of_a_broker_ends_the_process_and_is_not_repeated(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    given.setenv("SOME_NATS_URL", url)
    with pytest.raises(SystemExit) as ended:
        read(SomeSettings)
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert message.startswith("setting SOME_NATS_URL: ")
    assert "secret" not in message


@pytest.mark.parametrize(("published", "inbox"), [("40", None), ("40", "2"), ("7", "7")])
def test_inbox_marks_must_outlive_what_can_be_published_again(
    given: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    published: str,
    inbox: str | None,
) -> None:
    given.setenv("SOME_BUS_PUBLISHED_RETENTION_DAYS", published)
    if inbox:
        given.setenv("SOME_BUS_INBOX_RETENTION_DAYS", inbox)
    with pytest.raises(SystemExit) as ended:
        read(SomeSettings)
    assert ended.value.code == 2
    assert (
        "setting SOME_BUS_INBOX_RETENTION_DAYS must be more than SOME_BUS_PUBLISHED_RETENTION_DAYS"
        in capsys.readouterr().err
    )


def test_a_consumer_trusts_the_inbox_for_less_time_than_marks_are_kept(
    given: pytest.MonkeyPatch,
) -> None:
    given.setenv("SOME_BUS_PUBLISHED_RETENTION_DAYS", "1")
    given.setenv("SOME_BUS_INBOX_RETENTION_DAYS", "2")
    config = read(SomeSettings)
    assert 0 < config.consumer().inbox_retention.days < config.retention().inbox_days


def test_an_empty_file_setting_is_none(given: pytest.MonkeyPatch) -> None:
    """Platforms set variables that have no value to the empty text."""
    for name in ("TLS_CERTIFICATE", "TLS_KEY", "TLS_ROOTS"):
        given.setenv(f"SOME_{name}", "")
    settings = read(SomeSettings)
    assert (settings.tls_certificate, settings.tls_key, settings.tls_roots) == (None, None, None)


@pytest.mark.parametrize("name", ["TLS_CERTIFICATE", "TLS_KEY"])
def test_a_certificate_without_its_key_is_refused(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    given.setenv(f"SOME_{name}", "file.pem")
    with pytest.raises(SystemExit) as ended:
        read(SomeSettings)
    assert ended.value.code == 2
    assert "must be set together" in capsys.readouterr().err


def test_a_setting_of_a_wrong_form_is_explained_in_words(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given.setenv("SOME_METRICS_LISTEN", "everywhere")
    with pytest.raises(SystemExit):
        read(SomeSettings)
    form = "it is not of the form host:port, with a port from 0 to 65535"
    assert capsys.readouterr().err == f"setting SOME_METRICS_LISTEN: {form}\n"


@pytest.mark.parametrize(("port", "processes"), [(65535, 2), (65500, 64)])
def test_ports_for_the_metrics_of_all_processes_are_in_range(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], port: int, processes: int
) -> None:
    given.setenv("SOME_LISTEN", "127.0.0.1:50051")
    given.setenv("SOME_PROCESSES", str(processes))
    given.setenv("SOME_METRICS_LISTEN", f"127.0.0.1:{65536 - processes}")
    assert read(SomeSettings).processes == processes
    given.setenv("SOME_METRICS_LISTEN", f"127.0.0.1:{port}")
    with pytest.raises(SystemExit):
        read(SomeSettings)
    assert capsys.readouterr().err == (
        f"setting SOME_METRICS_LISTEN: {processes} processes have as many ports from this one on,"
        f" and the last would be {port + processes - 1}: more than 65535\n"
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"NATS_PASSWORD": ""},
            "setting SOME_NATS_PASSWORD: it is required without SOME_NATS_CREDENTIALS",
        ),
        ({"NATS_PASSWORD": " "}, "setting SOME_NATS_PASSWORD: it must not be blank"),
        (
            {"NATS_URL": "nats://a:@h", "NATS_USER": "", "NATS_PASSWORD": ""},
            "setting SOME_NATS_USER, SOME_NATS_PASSWORD: a user is given without a password",
        ),
        (
            {"NATS_TLS_KEY": "nats_user/key.pem"},
            (
                "setting SOME_NATS_TLS_CERTIFICATE, SOME_NATS_TLS_KEY:"
                " a client certificate and its key must be given together"
            ),
        ),
        (
            {"TLS_KEY": "key.pem"},
            "setting SOME_TLS_CERTIFICATE and SOME_TLS_KEY must be set together",
        ),
        (
            {"AUTH_ISSUERS": '[{"issuer": "i", "jwks": "http://idp", "roles": ["operator"]}]'},
            (
                "setting SOME_AUTH_ISSUERS, entry 1, jwks:"
                " must be an https:// URL; http:// is for this machine only"
            ),
        ),
        (
            {"LISTEN": "127.0.0.1:99999"},
            "setting SOME_LISTEN: it is not of the form host:port, with a port from 0 to 65535",
        ),
    ],
)
def test_a_fault_names_the_variables_as_they_are_set(
    given: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    line: str,
) -> None:
    for name, value in variables.items():
        given.setenv(f"SOME_{name}", value)
    with pytest.raises(SystemExit) as ended:
        read(SomeSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{line}\n"


def test_identity_providers_are_a_json_list(given: pytest.MonkeyPatch) -> None:
    assert read(SomeSettings).auth_issuers == ()
    given.setenv("SOME_AUTH_ISSUERS", "")
    assert read(SomeSettings).auth_issuers == ()
    given.setenv(
        "SOME_AUTH_ISSUERS",
        '[{"issuer": "https://idp.example/", "jwks": "idp.json", "roles": ["operator"]}]',
    )
    [provider] = read(SomeSettings).auth_issuers
    assert (provider.issuer, provider.jwks, provider.roles) == (
        "https://idp.example/",
        "idp.json",
        {"operator"},
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://idp.example/",
        "{}",
        '[{"issuer": "https://idp.example/"}]',
        '[{"issuer": "i", "jwks": "http://idp.example/jwks", "roles": ["operator"]}]',
        '[{"issuer": "i", "jwks": "idp.json", "roles": ["root"]}]',
    ],
)
def test_what_is_no_list_of_identity_providers_ends_the_process(
    given: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    given.setenv("SOME_AUTH_ISSUERS", text)
    with pytest.raises(SystemExit) as ended:
        read(SomeSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("setting SOME_AUTH_ISSUERS")
