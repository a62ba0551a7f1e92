"""The lab: four throw-away hosts on this machine, with real systemd and real SSH."""

from provision.lab.errors import LabDown as LabDown
from provision.lab.errors import LabFailed as LabFailed
from provision.lab.errors import LabUnavailable as LabUnavailable
from provision.lab.errors import ProgramFailed as ProgramFailed
from provision.lab.errors import UnknownHost as UnknownHost
from provision.lab.lab import Host as Host
from provision.lab.lab import Lab as Lab
from provision.lab.lab import Status as Status
from provision.lab.lab import boot as boot
from provision.lab.lab import cut as cut
from provision.lab.lab import down as down
from provision.lab.lab import heal as heal
from provision.lab.lab import kill as kill
from provision.lab.lab import opened as opened
from provision.lab.lab import reset as reset
from provision.lab.lab import set_clock as set_clock
from provision.lab.lab import status as status
from provision.lab.lab import up as up
