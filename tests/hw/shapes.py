"""Machines that operators have, as the tests of hw, doctor and placement see them."""

from __future__ import annotations

from trees import Card, Shape

TUNED = "isolcpus=managed_irq,domain,2-15 nohz_full=2-15 rcu_nocbs=2-15 intel_iommu=on iommu=pt"
CSTATES = (("POLL", 0), ("C1", 2), ("C6", 133))

SHAPES = {
    "one socket, no SMT, tuned, E810": Shape(
        cores=16,
        governor="performance",
        turbo="intel 1",
        idle=(("POLL", 0), ("C1", 2)),
        command_line=TUNED,
        isolated="2-15",
        memory_gib=64,
        hugepages=(8192,),
        locked="unlimited",
        modules=("vfio_pci",),
        running=("systemd", "chronyd"),
        cards=(
            Card("0000:01:00.0", 0x8086, 0x1521, "igb", "eno1", node=0, group=10, pin=1),
            Card(
                "0000:3b:00.0",
                0x8086,
                0x159B,
                "ice",
                "ens1f0",
                node=0,
                group=20,
                functions=(0, 128),
                clock=True,
            ),
            Card("0000:3b:00.1", 0x8086, 0x159B, "vfio-pci", node=0, group=21),
        ),
    ),
    "two sockets, SMT, ConnectX on node 1": Shape(
        packages=2,
        cores=8,
        siblings=2,
        nodes=2,
        governor="schedutil",
        turbo="intel 0",
        idle=CSTATES,
        memory_gib=256,
        hugepages=(0, 4096),
        running=("systemd", "irqbalance", "ptp4l", "phc2sys"),
        cards=(
            Card(
                "0000:af:00.0", 0x15B3, 0x101D, "mlx5_core", "enp175s0", node=1, group=60, clock=True, pin=1
            ),
        ),
    ),
    "two sockets, SMT off, X710, no IOMMU": Shape(
        packages=2,
        cores=12,
        nodes=2,
        governor="performance",
        memory_gib=128,
        hugepages=(512, 512),
        cards=(Card("0000:5e:00.0", 0x8086, 0x1572, "i40e", "eth2", node=0, pin=1),),
    ),
    "AMD desktop, SMT, 82599, AF_XDP only": Shape(
        cores=6,
        siblings=2,
        turbo="boost 1",
        governor="ondemand",
        idle=CSTATES,
        model="AMD Ryzen",
        cards=(Card("0000:07:00.0", 0x8086, 0x10FB, "ixgbe", "enp7s0", pin=0),),
    ),
    "cloud VM, ENA, hypervisor": Shape(
        cores=4,
        siblings=2,
        flags="fpu aes avx2 constant_tsc nonstop_tsc hypervisor",
        clocksource="kvm-clock",
        release="5.10.0-30-cloud-amd64",
        memory_gib=16,
        cards=(Card("0000:00:05.0", 0x1D0F, 0xEC20, "ena", "ens5", pin=0),),
    ),
    "small VM, virtio": Shape(
        cores=2,
        flags="fpu aes avx2 hypervisor",
        clocksource="hpet",
        memory_gib=4,
        shm="rw,size=65536k",
        cards=(Card("0000:00:03.0", 0x1AF4, 0x1000, "virtio-pci", "eth0", pin=1),),
    ),
    "laptop, Wi-Fi": Shape(
        cores=4,
        siblings=2,
        governor="powersave",
        turbo="intel 0",
        idle=CSTATES,
        memory_gib=16,
        cards=(Card("0000:00:14.3", 0x8086, 0xA0F0, "iwlwifi", "wlan0", pin=1),),
    ),
    "ARM server, ConnectX": Shape(
        packages=1,
        cores=64,
        arm=True,
        model="0xd0c",
        clocksource="arch_sys_counter",
        governor="performance",
        memory_gib=128,
        hugepages=(2048,),
        release="6.12.9-arm64",
        cards=(Card("0001:01:00.0", 0x15B3, 0x1017, "mlx5_core", "eth0", node=0, group=3, pin=1),),
    ),
    "container without sysfs": Shape(cores=1, flags="fpu", memory_gib=1, shm="rw,size=64m"),
}
