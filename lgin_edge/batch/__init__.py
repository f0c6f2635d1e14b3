"""Many pictures in folders: ``lgin-edge batch``.

``tasks`` finds what there is to do, ``worker`` does one task, ``journal`` remembers what is done, and ``run`` is all of it. Files of
many pictures, and workers on other machines, come from outside: ``Settings.shards`` and ``run(executor=)``, of which
``integrations/datasets`` makes use. What travels between processes are names and counts: a picture is read where it is changed, and
its result written there.
"""
