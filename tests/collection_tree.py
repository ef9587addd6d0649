# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes this checkout importable as ansible_collections.senet.firewall: python -m tests.collection_tree."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / "build" / "collections"
# Not the checkout itself: build/ inside it would make the tree endless for whoever walks it.
PARTS = ("galaxy.yml", "meta", "playbooks", "plugins", "roles")


def link() -> Path:
    """Links the collection's parts into build/collections and returns that path, for ANSIBLE_COLLECTIONS_PATH."""
    collection = COLLECTIONS / "ansible_collections" / "senet" / "firewall"
    collection.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        place = collection / part
        if (ROOT / part).exists() and not place.is_symlink():
            place.symlink_to(ROOT / part)
    return COLLECTIONS


if __name__ == "__main__":
    print(link())
