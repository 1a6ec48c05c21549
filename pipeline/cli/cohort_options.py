"""Build the options of verimask cohort, in the groups that --help shows."""

from __future__ import annotations

import argparse

from . import output
from .convert_options import add_policy_options, add_privacy


def add_options(p: argparse.ArgumentParser) -> None:
    """Add all of them."""
    p.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folder of all patients (any depth); ZIP archives and bundles too"
    )
    p.add_argument("-o", "--output", metavar="OUT", help="folder of the data set: new, or one of an earlier run")
    _add_dataset(p)
    _add_names(p)
    _add_run(p)
    add_policy_options(p)
    output.add_common(p)


def _add_dataset(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("the data set")
    g.add_argument(
        "--layout",
        choices=("pairs", "nnunet", "bids"),
        default="pairs",
        help="a folder a subject with image.nii.gz and its masks (default), the raw data of nnU-Net v2, or BIDS",
    )
    g.add_argument("--labels", metavar="labels.toml", help="names and values of the labels: masks become one label map")
    g.add_argument(
        "--labels-draft", metavar="FILE", help="write a first labels.toml from the masks' names, and no more"
    )
    g.add_argument("--separate", action="store_true", help="with --labels: each label as a file of its own")
    g.add_argument(
        "--images",
        choices=("partners", "all"),
        default="partners",
        help="which images are written: those that have masks (default), or all",
    )
    g.add_argument(
        "--incomplete",
        choices=("layout", "keep", "leave-out"),
        default="layout",
        help="cases that lack a mask or label: nnunet leaves them out, the others keep them (default); or say which",
    )
    g.add_argument("--title", metavar="NAME", help="name of the data set; that of OUT by default")


def _add_names(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("names and links")
    g.add_argument(
        "--subject",
        metavar="RULE",
        help="folder:N (the Nth folder below INPUT), hash (of the Patient ID, with --salt), or table; by default numbers, and with "
        "--keep-names the folder at which patients part, unless its name is a patient's",
    )
    g.add_argument("--session", metavar="RULE", help="none (default), folder:N, study (each study is one), or table")
    g.add_argument("--salt", metavar="FILE", help="what makes hashes yours: keep it, and give the same one every time")
    g.add_argument(
        "--public-ids",
        action="store_true",
        help="Patient IDs and the folders of patients are pseudonyms already, and may be names and stand in tables",
    )
    g.add_argument(
        "--table",
        metavar="TABLE.tsv",
        help="settle what is ambiguous: cohort.tsv with its columns image, subject, session or role filled in",
    )
    add_privacy(g)


def _add_run(p: argparse.ArgumentParser) -> None:
    g = p.add_argument_group("the run")
    g.add_argument("--dry-run", action="store_true", help="print the plan, and convert nothing")
    g.add_argument("--only-failed", action="store_true", help="make those cases again that were not wholly done")
    g.add_argument("--prune", action="store_true", help="remove results of cases whose inputs are gone")
    g.add_argument(
        "-w", "--write", choices=("refuse", "overwrite"), default="refuse", help="files in OUT that are not ours"
    )
    g.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="how many processes make cases (as many as there are cores); 1: this one, which a crash ends",
    )
    g.add_argument("--dask", metavar="ADDRESS", help="make the cases on a Dask cluster, such as tcp://host:8786")
    g.add_argument("--part", metavar="K/N", help="with cohort run PLAN: which share of how many")
    g.add_argument("--no-page", action="store_true", help="write no cohort.html")
