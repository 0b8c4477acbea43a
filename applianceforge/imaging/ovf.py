"""Describe a virtual machine with our disk in the Open Virtualization Format.

The firmware is a BIOS. The guest's type has 64 bits for a 32-bit release as well: by the type,
hypervisors choose whether the machine has long mode, and without it the way to 64 bits is barred.

Source: DMTF DSP0243 1.1.1, Open Virtualization Format Specification; DSP8023 1.1.1, its schema;
CIM_OperatingSystem.OSType for 96 (Debian, 64-bit).
"""

from dataclasses import dataclass
from html import escape

# What VMware calls the same; Debian 12 itself is known from vSphere 8 on only.
_VMWARE_TYPE = "debian11_64Guest"
_CIM_DEBIAN_64 = 96
# ESXi 6.5 and later.
_HARDWARE = "vmx-13"
_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
# The controller that VMware and VirtualBox both have, by the name that both know.
ADAPTER = "lsilogic"
_NETWORK = "network"

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
"""


@dataclass(frozen=True)
class Machine:
    """The virtual machine that an image is made for.

    Attributes:
        name: What its files and the machine are called.
        title: What people call it.
        version: Of the release.
        processors: How many it gets.
        memory_mib: How much memory it gets.
    """

    name: str
    title: str
    version: str
    processors: int = 2
    memory_mib: int = 1024


@dataclass(frozen=True)
class Disk:
    """The disk's file: its name, its size as a file, and the size of the disk in it."""

    file: str
    file_bytes: int
    size_bytes: int


def descriptor(machine: Machine, disk: Disk) -> bytes:
    """Return the .ovf file."""
    return f"""{_HEAD}\
 <References>
  <File ovf:id="file1" ovf:href={_attribute(disk.file)} ovf:size="{disk.file_bytes}"/>
 </References>
 <DiskSection>
  <Info>Disks</Info>
  <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{disk.size_bytes}"
   ovf:capacityAllocationUnits="byte" ovf:format="{_FORMAT}"/>
 </DiskSection>
 <NetworkSection>
  <Info>Networks</Info>
  <Network ovf:name="{_NETWORK}">
   <Description>The network that the appliance serves</Description>
  </Network>
 </NetworkSection>
 <VirtualSystem ovf:id={_attribute(machine.name)}>
  <Info>A virtual machine</Info>
  <Name>{escape(machine.name)}</Name>
  <OperatingSystemSection ovf:id="{_CIM_DEBIAN_64}" vmw:osType="{_VMWARE_TYPE}">
   <Info>64-bit also for a 32-bit release, which is to become one of 64 bits</Info>
   <Description>Debian (64-bit)</Description>
  </OperatingSystemSection>
  <ProductSection>
   <Info>What it is</Info>
   <Product>{escape(machine.title)}</Product>
   <Version>{escape(machine.version)}</Version>
  </ProductSection>
  <VirtualHardwareSection>
   <Info>Virtual hardware</Info>
   <System>
    <vssd:ElementName>Virtual hardware</vssd:ElementName>
    <vssd:InstanceID>0</vssd:InstanceID>
    <vssd:VirtualSystemIdentifier>{escape(machine.name)}</vssd:VirtualSystemIdentifier>
    <vssd:VirtualSystemType>{_HARDWARE}</vssd:VirtualSystemType>
   </System>
{"".join(_items(machine))}\
   <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/>
  </VirtualHardwareSection>
 </VirtualSystem>
</Envelope>
""".encode()


def _attribute(value: str) -> str:
    return f'"{escape(value)}"'


def _items(machine: Machine) -> tuple[str, ...]:
    # Within an item, the schema wants its parts in the order of the alphabet.
    return (
        _item(
            AllocationUnits="hertz * 10^6",
            ElementName="processors",
            InstanceID="1",
            ResourceType="3",
            VirtualQuantity=str(machine.processors),
        ),
        _item(
            AllocationUnits="byte * 2^20",
            ElementName="memory",
            InstanceID="2",
            ResourceType="4",
            VirtualQuantity=str(machine.memory_mib),
        ),
        _item(
            Address="0",
            ElementName="disk controller",
            InstanceID="3",
            ResourceSubType=ADAPTER,
            ResourceType="6",
        ),
        _item(
            AddressOnParent="0",
            ElementName="disk",
            HostResource="ovf:/disk/disk1",
            InstanceID="4",
            Parent="3",
            ResourceType="17",
        ),
        _item(
            AddressOnParent="7",
            AutomaticAllocation="true",
            Connection=_NETWORK,
            ElementName="network adapter",
            InstanceID="5",
            ResourceSubType="E1000",
            ResourceType="10",
        ),
    )


def _item(**parts: str) -> str:
    lines = (f"    <rasd:{key}>{value}</rasd:{key}>\n" for key, value in parts.items())
    return f"   <Item>\n{''.join(lines)}   </Item>\n"
