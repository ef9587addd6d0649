# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles named after pairs, what service_pair knows of them, and docs/pairs.md: all made from the catalogue.

What is not in the catalogue, the words, is in pairs.yml. ``make roles`` writes the files.
"""
