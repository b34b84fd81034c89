import os
from pathlib import Path

import pytest

from sensor.attribution.leases import Lease, LeaseFiles, read_leases

MAC = "02:00:5e:10:00:01"
DNSMASQ = f"1790000000 {MAC.upper()} 192.0.2.7 build-7 01:{MAC}\n1790000000 {MAC} 192.0.2.8 * *\nduid 00:01\n"
ISC = f"""
lease 192.0.2.7 {{
  starts 1 2026/11/23 18:00:00;
  hardware ethernet {MAC};
  client-hostname "build-7";
}}
lease 192.0.2.8 {{
  hardware ethernet {MAC};
}}
"""
KEA = f"""address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context
192.0.2.7,{MAC},,4000,1790000000,1,0,0,build-7.,0,
192.0.2.8,{MAC},,4000,1790000000,1,0,0,,0,
"""


@pytest.mark.parametrize("text", [DNSMASQ, ISC, KEA], ids=["dnsmasq", "isc", "kea"])
def test_a_lease_names_host_and_hardware_address(text: str) -> None:
    assert dict(read_leases(text)) == {"192.0.2.7": Lease("build-7", MAC), "192.0.2.8": Lease(None, MAC)}


@pytest.mark.parametrize("text", ["", "\n\n", "lease x {", "address,hwaddr\n,,,\n", "a b c d\n", "\0\0"])
def test_what_is_no_lease_is_passed_over(text: str) -> None:
    assert dict(read_leases(text)) == {}


def test_a_changed_file_is_read_again_and_a_missing_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "dnsmasq.leases"
    leases = LeaseFiles([tmp_path / "missing", path])
    assert leases.find("192.0.2.7") is None
    path.write_text(DNSMASQ)
    assert leases.find("192.0.2.7") == Lease("build-7", MAC)
    path.write_text(DNSMASQ.replace("build-7", "build-8"))
    os.utime(path, ns=(1, 1))
    assert leases.find("192.0.2.7") == Lease("build-8", MAC)
