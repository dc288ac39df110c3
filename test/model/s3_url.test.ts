import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readS3Url } from '../../dist/model/s3_url.js';

const KEY = { accessKeyId: 'a:b', secretAccessKey: 'c/d+e' };
const OTHER = { bucket: 'items', endpoint: 'https://s3.example.com:9000', region: 'us-east-1', pathStyle: true };
const AMAZON = { bucket: 'items', endpoint: null, region: 'us-east-1', credentials: null, pathStyle: false };

for (const [url, expected] of [
  ['s3://a%3Ab:c%2Fd%2Be@s3.example.com:9000/items', { ...OTHER, credentials: KEY }],
  ['s3+http://a%3Ab:c%2Fd%2Be@127.0.0.1/items/', { ...OTHER, endpoint: 'http://127.0.0.1', credentials: KEY }],
  [
    's3://s3.example.com:9000/items?region=eu&virtualHost=true',
    { ...OTHER, credentials: null, region: 'eu', pathStyle: false },
  ],
  ['s3:///items', AMAZON],
  ['s3:///items?region=eu-central-1', { ...AMAZON, region: 'eu-central-1' }],
  ['s3://a%3Ab:c%2Fd%2Be@s3.amazonaws.com/items', { ...AMAZON, credentials: KEY }],
  ['s3://s3.eu-central-1.amazonaws.com/items', { ...AMAZON, region: 'eu-central-1' }],
  ['s3://key:secret@host/', null],
  ['s3://key:secret@host', null],
  ['s3://key:secret@host/bucket/prefix', null],
  ['s3://key@host/bucket', null],
  ['s3+http:///bucket', null],
  ['s3://key:secret@host/bucket%', null],
] as const)
  test(`where ${url} leads to`, () => assert.deepEqual(readS3Url(url), expected));
