"""The names that are derived from a service's name."""

from runtime.service_name import ServiceName


def test_all_names_of_a_service_follow_from_its_domain() -> None:
    name = ServiceName("payment")
    assert str(name) == name.schema == "payment"
    assert name.package == "payment_svc"
    assert name.stream == "PAYMENT"
    assert name.settings_prefix == "PAYMENT_"
    assert name.runtime_role == "payment_runtime"


def test_a_package_leads_back_to_its_service() -> None:
    assert ServiceName.of_package("interview_svc") == ServiceName("interview")
