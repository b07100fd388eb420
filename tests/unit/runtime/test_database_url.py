"""Database URLs in the forms that platforms hand out, and those that are refused at the start."""

from pathlib import Path

import pytest

from runtime.database_url import DatabaseUrl, InvalidDatabaseUrl
from tests.builders.certificates import write_certificate

PLAIN = "postgresql://me:secret@db.example:5433/shop"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_each_scheme_means_the_same(scheme: str) -> None:
    assert str(DatabaseUrl.parse(f"{scheme}://me:secret@db.example:5433/shop\n")) == PLAIN


@pytest.mark.parametrize(
    ("query", "dsn_query"),
    [
        ("sslmode=disable", "sslmode=disable"),
        ("sslmode=prefer", "sslmode=prefer"),
        ("sslmode=require&channel_binding=prefer", "sslmode=require"),
        ("ssl=require", "sslmode=require"),
        ("ssl=true", "sslmode=require"),
        ("application_name=shop+1&keepalives=1", "application_name=shop%2B1"),
        ("options=-c%20work_mem%3D8MB", "options=-c%20work_mem%3D8MB"),
        ("target_session_attrs=read-write", "target_session_attrs=read-write"),
        ("gssencmode=disable&client_encoding=UTF8", ""),
    ],
)
def test_parameters_of_libpq_are_translated_for_the_driver(query: str, dsn_query: str) -> None:
    dsn = DatabaseUrl.parse(f"{PLAIN}?{query}").connect_args()["dsn"]
    assert dsn == (f"{PLAIN}?{dsn_query}" if dsn_query else PLAIN)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@a.example,b.example:5433/shop",
        "postgresql://me:secret@[::1]:5432/shop",
        "postgresql://me:secret@%2Frun%2Fpostgresql:5433/shop",
        "postgresql://me@%2Frun%2Fpostgresql/shop",
    ],
)
def test_several_hosts_ipv6_and_sockets_are_taken(url: str) -> None:
    assert str(DatabaseUrl.parse(url)) == url


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("u:p@h/db?port=6543", "u:p@h:6543/db"),
        ("u:p@h:1/db?host=primary.example", "u:p@primary.example:1/db"),
        ("u:p@h:1/db?user=other&password=q%40&dbname=d2", "other:q%40@h:1/d2"),
        ("u:p@h/db?user=other", "other:p@h/db"),
        ("u:p@a,b,c/db?port=1,2,3", "u:p@a:1,b:2,c:3/db"),
        ("u:p@a:1,b:2/db?host=c,d", "u:p@c:1,d:2/db"),
        ("u:p@/db?host=a,b&port=6543", "u:p@a:6543,b:6543/db"),
        ("u:p@/db?host=::1", "u:p@[::1]/db"),
        ("u:p@/db?host=/run/postgresql", "u:p@%2Frun%2Fpostgresql/db"),
    ],
)
def test_a_parameter_replaces_what_is_before_the_question_mark(url: str, meant: str) -> None:
    """As in libpq; asyncpg would ignore the parameter without a word."""
    parsed = DatabaseUrl.parse(f"postgres://{url}")
    assert parsed.connect_args()["dsn"] == f"postgresql://{meant}"
    assert parsed.parameters == {}


def test_a_database_may_be_named_by_a_parameter_and_a_password_contain_an_at_sign() -> None:
    url = DatabaseUrl.parse("postgres://me:se@cret@host?dbname=shop")
    assert str(url) == "postgresql://me:se%40cret@host/shop"


@pytest.mark.parametrize(
    ("parameter", "seconds"), [("", 5), ("connect_timeout=9", 9), ("connect_timeout=0", 5)]
)
def test_connecting_has_a_time_limit(parameter: str, seconds: float) -> None:
    assert DatabaseUrl.parse(f"{PLAIN}?{parameter}").connect_args()["timeout"] == seconds


def test_the_application_name_of_the_url_is_preferred() -> None:
    own, others = "application_name=own", "application_name=payment"
    assert own in DatabaseUrl.parse(f"{PLAIN}?{own}").connect_args("payment")["dsn"]
    assert others in DatabaseUrl.parse(PLAIN).connect_args("payment")["dsn"]


def test_files_of_certificates_are_read_at_once(tmp_path: Path) -> None:
    certificate, key, _ = write_certificate(tmp_path)
    query = f"sslmode=verify-full&sslrootcert={certificate}&sslcert={certificate}&sslkey={key}"
    assert f"sslkey={key}".replace("/", "%2F") in str(DatabaseUrl.parse(f"{PLAIN}?{query}"))


def test_the_roots_of_the_system_verify_certificate_and_host() -> None:
    arguments = DatabaseUrl.parse(f"{PLAIN}?sslmode=verify-full&sslrootcert=system").connect_args()
    assert arguments["dsn"] == PLAIN
    assert arguments["ssl"].check_hostname


def test_another_login_and_database_keep_the_other_parameters() -> None:
    url = DatabaseUrl.parse(f"{PLAIN}?sslmode=require&user=me&password=secret")
    other = url.with_login("you", "p@ss").with_database("other")
    assert str(other) == "postgresql://you:p%40ss@db.example:5433/other?sslmode=require"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "it is not of the form"),
        ("secret", "it is not of the form"),
        ("mysql://me:secret@host/shop", "it is not of the form"),
        ("postgresql+psycopg://me:secret@host/shop", "it is not of the form"),
        ("postgresql://me:secret@[::1/shop", "it is not a URL"),
        ("postgresql://me:secret@host/shop?secret", "it is not a URL"),
        ("postgresql://me:secret@host", "names no database"),
        ("postgresql://me:secret@host/", "names no database"),
        ("postgresql:///shop", "names no host"),
        ("postgresql://me:secret@/shop", "names no host"),
        ("postgresql://me:secret@host:abc/shop", "port is not a number"),
        ("postgresql://me:secret@host:70000/shop", "port is not a number"),
        ("postgresql://me:secret@host:0/shop", "port is not a number"),
        ("postgresql://me:secret@a:1,b:x/shop", "port is not a number"),
        ("postgresql://me:secret@[::1]:x/shop", "port is not a number"),
        (f"{PLAIN}?port=x", "port is not a number"),
        (f"postgresql://me:secret@host:{'9' * 5000}/shop", "port is not a number"),
        ("postgresql://me:secret@a,b,c/shop?port=1,2", "neither one port nor as many"),
        ("postgresql://me:secret@host:5432,/shop", "one of its hosts is empty"),
        ("postgresql://me:secret@/shop?host=host:abc", "one of its hosts is empty"),
        ("postgresql://me:secret@ho%00st:5432/shop", "not the name of a host"),
        (f"postgresql://me:secret@{'h' * 300}/shop", "too long"),
        (f"postgresql://me:secret@{'h.' * 150}/shop", "too long"),
        ("postgresql://me:secret@host/sh%00op", "character NUL"),
        (f"{PLAIN}?application_name=a%00b", "character NUL"),
        (f"{PLAIN}?ssl_min_protocol_version=foo", "ssl_min_protocol_version is none of"),
        (f"{PLAIN}?ssl_max_protocol_version=SSLv3", "ssl_max_protocol_version is none of"),
        (
            f"{PLAIN}?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "is above ssl_max_protocol_version",
        ),
        (f"{PLAIN}?gsslib=foo", "gsslib is none of"),
        (f"{PLAIN}?sslnegotiation=foo", "sslnegotiation is none of"),
        (f"{PLAIN}?sslnegotiation=direct", "requires sslmode=require"),
        (f"{PLAIN}?sslmode=on", "sslmode is none of"),
        (f"{PLAIN}?ssl=maybe", "sslmode is none of"),
        (f"{PLAIN}?target_session_attrs=master", "target_session_attrs is none of"),
        (f"{PLAIN}?connect_timeout=soon", "connect_timeout is not a number"),
        (f"{PLAIN}?channel_binding=require", "channel_binding=require is not supported"),
        (f"{PLAIN}?pool_size=3", "parameter 'pool_size' is unknown"),
        (f"{PLAIN}?sslmode=verify-full", "requires sslrootcert"),
        (f"{PLAIN}?sslmode=verify-ca&sslrootcert=system", "requires sslmode=verify-full"),
        (f"{PLAIN}?sslmode=verify-ca&sslrootcert=/none.pem", "sslrootcert cannot be read"),
        (f"{PLAIN}?sslmode=require&sslcert=/none.pem", "sslcert, sslkey cannot be read"),
        (f"{PLAIN}?sslrootcert={__file__}", "sslrootcert cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_without_the_password(
    url: str, problem: str
) -> None:
    with pytest.raises(InvalidDatabaseUrl, match=problem) as refused:
        DatabaseUrl.parse(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
