"""Readers: files of several formats in, one ``RawDomain`` out."""

from idp_tf.data.readers.amazon_2014 import read_amazon_2014
from idp_tf.data.readers.amazon_2018 import read_amazon_2018
from idp_tf.data.readers.amazon_2023 import read_amazon_2023
from idp_tf.data.readers.bad_rows import SetAside
from idp_tf.data.readers.detect import find_domain, list_domains, read_domain
from idp_tf.data.readers.files import SourceFile
from idp_tf.data.readers.movielens import read_movielens
from idp_tf.data.readers.raw import RawDomain, ReadOptions
from idp_tf.data.readers.recbole import read_recbole
from idp_tf.data.readers.shards import FORMATS, Shards, find_shards, read_shards
from idp_tf.data.readers.table import read_table

__all__ = [
    "FORMATS",
    "RawDomain",
    "ReadOptions",
    "SetAside",
    "Shards",
    "SourceFile",
    "find_domain",
    "find_shards",
    "list_domains",
    "read_amazon_2014",
    "read_amazon_2018",
    "read_amazon_2023",
    "read_domain",
    "read_movielens",
    "read_recbole",
    "read_shards",
    "read_table",
]
