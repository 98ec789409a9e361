#!/usr/bin/python3
"""Makes golden.json: hashes that Django, passlib, werkzeug and hashlib write.

Debian: python3-django python3-passlib python3-werkzeug python3-bcrypt python3-argon2. Salts are random, so each run
makes another file that is as good. werkzeug's scrypt and Django's are newer than Debian 12: hashlib computes them.
"""
import base64, hashlib, json, sys, warnings

warnings.simplefilter("ignore")
from django.conf import settings

settings.configure(PASSWORD_HASHERS=["django.contrib.auth.hashers." + name for name in (
    "PBKDF2PasswordHasher", "PBKDF2SHA1PasswordHasher", "Argon2PasswordHasher", "BCryptSHA256PasswordHasher",
    "BCryptPasswordHasher")])
from django.contrib.auth.hashers import get_hasher
from passlib import hash as passlib
from werkzeug.security import generate_password_hash

PASSWORD = "correct horse battery staple"
LONG = "Füße und Ärger: " * 6 + "the end"  # more than 72 bytes
out = []


def add(name, password, hashed):
    out.append({"name": name, "password": password, "hash": hashed})


for algorithm in ("pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt"):
    hasher = get_hasher(algorithm)
    hasher.rounds, hasher.memory_cost, hasher.time_cost = 4, 1024, 1
    hasher.iterations = 1000
    add("Django " + algorithm, PASSWORD, hasher.encode(PASSWORD, hasher.salt()))
    if algorithm.startswith("bcrypt"):
        add("Django " + algorithm + ", more than 72 bytes", LONG, hasher.encode(LONG, hasher.salt()))
for name, options in (("bcrypt", {"rounds": 4}), ("bcrypt_sha256", {"rounds": 4}),
                      ("argon2", {"memory_cost": 1024, "rounds": 1}), ("scrypt", {"rounds": 10}),
                      ("pbkdf2_sha1", {"rounds": 1000}), ("pbkdf2_sha256", {"rounds": 1000}),
                      ("pbkdf2_sha512", {"rounds": 1000}), ("django_bcrypt_sha256", {"rounds": 4}),
                      ("django_pbkdf2_sha256", {"rounds": 1000})):
    scheme = getattr(passlib, name).using(**options)
    add("passlib " + name, PASSWORD, scheme.hash(PASSWORD))
    if "bcrypt" in name:
        add("passlib " + name + ", more than 72 bytes", LONG, scheme.hash(LONG))
add("passlib bcrypt_sha256, version 1", LONG, passlib.bcrypt_sha256.using(rounds=4, version=1).hash(LONG))
for digest in ("sha1", "sha256", "sha512"):
    add("werkzeug pbkdf2:" + digest, PASSWORD, generate_password_hash(PASSWORD, "pbkdf2:%s:1000" % digest))


def scrypt(salt, n):
    return hashlib.scrypt(PASSWORD.encode(), salt=salt, n=n, r=8, p=1, maxmem=64 << 20, dklen=64)


SALT = b"y6Nd3hZ4bQw9KtLp"
add("werkzeug scrypt", PASSWORD, "scrypt:32768:8:1$%s$%s" % (SALT.decode(), scrypt(SALT, 32768).hex()))
add("Django scrypt", PASSWORD, "scrypt$16384$%s$8$1$%s" % (
    SALT.decode(), base64.b64encode(scrypt(SALT, 16384)).decode()))
add("Kratos scrypt", PASSWORD, "$scrypt$ln=16384,r=8,p=1$%s$%s" % (
    base64.b64encode(SALT).decode(), base64.b64encode(scrypt(SALT, 16384)).decode()))
add("Kratos pbkdf2", PASSWORD, "$pbkdf2-sha256$i=1000,l=32$%s$%s" % tuple(
    base64.b64encode(b).decode().rstrip("=") for b in (
        SALT, hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, 1000))))
add("Firebase, from the README of its own implementation", "user1password",
    "$firescrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZi"
    "lo78198JAdRuid5lQ==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==")
json.dump(out, sys.stdout, indent=1, ensure_ascii=False)
print()
