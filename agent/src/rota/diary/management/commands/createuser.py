"""Make a person who may log in, or change one."""

import getpass
import sys
from argparse import ArgumentParser

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction

from rota.diary import audit
from rota.diary.models import Person, Role
from rota.diary.sessions import end_all


class Command(BaseCommand):
    help = "Make a person who may log in, or change one. The password is asked for, or read from standard input."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="", help="how pages call this person")
        parser.add_argument("--role", choices=Role.values, default=Role.VIEWER)

    def handle(self, *args: object, email: str, name: str, role: str, **options: object) -> None:
        email = email.strip().lower()
        try:
            validate_email(email)
            person = Person.objects.filter(email=email).first() or Person(email=email)
            password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
            validate_password(password, person)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        is_new = person.pk is None
        person.name = name or person.name or email
        person.role = role
        person.is_active = True
        person.set_password(password)
        with transaction.atomic():
            person.save()
            end_all(person)
            audit.note(None, "person made" if is_new else "person changed", person, {"role": role, "password": "set"})
        self.stdout.write(f"{email} may log in as {role}")
