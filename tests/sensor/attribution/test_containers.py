import pytest

from sensor.attribution.containers import container_of

ID = "4f1c2a9b7d3e" + "0" * 52


@pytest.mark.parametrize(
    ("path", "container"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker:4f1c2a9b7d3e"),
        (f"12:cpu:/docker/{ID}", "docker:4f1c2a9b7d3e"),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            "podman:4f1c2a9b7d3e",
        ),
        (f"0::/kubepods.slice/kubepods-pod0a.slice/cri-containerd-{ID}.scope", "containerd:4f1c2a9b7d3e"),
        (f"0::/kubepods.slice/kubepods-pod0a.slice/crio-{ID}.scope", "crio:4f1c2a9b7d3e"),
        (f"1:name=systemd:/kubepods/besteffort/pod0a/{ID}", "kubernetes:4f1c2a9b7d3e"),
        (f"0::/default/{ID}", "containerd:4f1c2a9b7d3e"),
        ("0::/lxc.payload.web-1/init.scope", "lxc:web-1"),
        ("0::/machine.slice/systemd-nspawn@builder.service/payload", "nspawn:builder"),
        ("0::/system.slice/ssh.service", "systemd:ssh.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/agent.service", "systemd:agent.service"),
        ("0::/user.slice/user-1000.slice/session-2.scope", None),
        ("0::/", None),
        ("", None),
    ],
)
def test_control_groups_name_the_container_or_the_unit(path: str, container: str | None) -> None:
    assert container_of(f"{path}\n") == container
