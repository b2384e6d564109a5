"""Readers: files of several formats in, one ``RawDomain`` out."""

from idp_tf.data.readers.detect import list_domains, read_domain
from idp_tf.data.readers.files import SourceFile
from idp_tf.data.readers.raw import RawDomain, ReadOptions
from idp_tf.data.readers.recbole import read_recbole

__all__ = [
    "RawDomain",
    "ReadOptions",
    "SourceFile",
    "list_domains",
    "read_domain",
    "read_recbole",
]
