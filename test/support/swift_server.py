"""
A whole OpenStack Swift with its S3 API in one process: account, container and proxy servers as they are in production,
the object server with its objects in memory. For tests: fsync is off, and one copy of everything is kept.

Usage: /usr/bin/python3 swift_server.py <empty directory> <bytes of the smallest part>

Prints the port of the proxy once it listens. Ends when its standard input does.
"""
import os
import socket
import sys

import eventlet
import eventlet.patcher

eventlet.patcher.monkey_patch(thread=False)

import eventlet.wsgi  # noqa: E402
from paste.deploy import loadapp  # noqa: E402
from swift.common import utils  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.storage_policy import POLICIES  # noqa: E402

home, smallest_part = sys.argv[1:3]
utils.HASH_PATH_SUFFIX = b'tests'
utils.HASH_PATH_PREFIX = b''


class Silent:
    def write(self, *_):
        pass

    def flush(self):
        pass


def serve(app, listener):
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    eventlet.spawn(eventlet.wsgi.server, listener, app, Silent(), custom_pool=eventlet.GreenPool(100), debug=False)


def load(name, lines):
    path = os.path.join(home, name + '.conf')
    with open(path, 'w') as conf:
        conf.write('\n'.join(lines) + '\n')
    return loadapp('config:' + path)


def build_ring(name, port):
    builder = RingBuilder(1, 1, 0)
    builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': port, 'device': 'd', 'weight': 1})
    builder.rebalance()
    builder.get_ring().save(os.path.join(home, name + '.ring.gz'))


os.makedirs(os.path.join(home, 'disks', 'd'))
listeners = {name: eventlet.listen(('127.0.0.1', 0)) for name in ('account', 'container', 'object', 'proxy')}
for name in ('account', 'container', 'object'):
    build_ring(name, listeners[name].getsockname()[1])
common = ['swift_dir = ' + home, 'devices = ' + os.path.join(home, 'disks'), 'mount_check = false',
          'log_level = CRITICAL', 'log_address = /nonexistent', 'fallocate_reserve = 0']
for name, egg in (('account', 'account'), ('container', 'container'), ('object', 'mem_object')):
    serve(load(name, ['[DEFAULT]', *common, '[app:main]', 'use = egg:swift#' + egg]), listeners[name])
proxy = load('proxy', [
    '[DEFAULT]', *common,
    '[pipeline:main]', 'pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth bulk slo proxy-server',
    *(line for name in ('catch_errors', 'gatekeeper', 'bulk', 'listing_formats')
      for line in ('[filter:%s]' % name, 'use = egg:swift#' + name)),
    '[filter:cache]', 'use = egg:swift#memcache', 'memcache_servers = 127.0.0.1:1', 'memcache_max_connections = 1',
    '[filter:slo]', 'use = egg:swift#slo',
    '[filter:tempauth]', 'use = egg:swift#tempauth', 'user_crawler_tests = secret/with+signs .admin',
    'user_crawler_guest = secret/with+signs',
    '[filter:s3api]', 'use = egg:swift#s3api', 'min_segment_size = ' + smallest_part, 's3_acl = false',
    '[app:proxy-server]', 'use = egg:swift#proxy', 'account_autocreate = true', 'allow_account_management = true',
])
serve(proxy, listeners['proxy'])
print(listeners['proxy'].getsockname()[1], flush=True)
eventlet.tpool.execute(sys.stdin.read)
